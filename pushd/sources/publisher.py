"""The publisher of a source: validation, publishing and logging of refusals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from pushd.core.errors import LineTooLong, Refusal, TooLarge
from pushd.core.message import Draft, draft
from pushd.core.peer import DAEMON
from pushd.hub.hub import Hub
from pushd.metrics import Counters


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """A message that has not been validated yet."""

    data: bytes
    content_type: str | None = None
    event: str | None = None
    end: bool = False


class SourcePublisher:
    """Publishes the messages of one source on its channel.

    Refusals are logged when they start and when they end, not for each message, so that a source with a short interval
    does not fill the log.

    :param source: name of the source, for the log.
    :param channel: a valid channel name.
    :param limit: maximum size of a message in bytes.
    """

    log = Logger()

    def __init__(self, hub: Hub, counters: Counters, source: str, channel: str, limit: int) -> None:
        self.source = source
        self.limit = limit
        self._hub = hub
        self._counters = counters
        self._channel = channel
        self._refused_code = ""

    async def publish(self, messages: Iterable[SourceMessage]) -> list[bool]:
        """Publish in this order; return for each message whether it was accepted. Yields to the reactor in between."""
        receipts = await self._hub.publish_all(DAEMON, (self._draft(message) for message in messages))
        refusals = [receipt for receipt in receipts if isinstance(receipt, Refusal)]
        self._counters.refusals.update(refusal.code for refusal in refusals)
        self._log_refusals(refusals)
        return [not isinstance(receipt, Refusal) for receipt in receipts]

    def count_truncated(self, count: int) -> None:
        """Count lines that the caller has truncated to the limit."""
        if count:
            self._counters.refusals[LineTooLong.code] += count

    def _draft(self, message: SourceMessage) -> Draft | Refusal:
        if len(message.data) > self.limit:
            return self._too_large(len(message.data))
        try:
            made = draft(self._channel, message.data, message.content_type, message.event, end=message.end)
        except Refusal as refusal:
            return refusal
        return made if len(made.data) <= self.limit else self._too_large(len(made.data))

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(f"message must have at most {self.limit} bytes (got {size})")

    def _log_refusals(self, refusals: Sequence[Refusal]) -> None:
        code = refusals[0].code if refusals else ""
        if code and code != self._refused_code:
            self.log.warn(
                "{source}: publish refused, {code}: {reason}", source=self.source, code=code, reason=str(refusals[0])
            )
        elif self._refused_code and not code:
            self.log.info("{source}: publishes are accepted again", source=self.source)
        self._refused_code = code
