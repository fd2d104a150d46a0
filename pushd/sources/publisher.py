"""How what a source has to say gets to the hub."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from pushd.core.errors import LineTooLong, Refusal, TooLarge
from pushd.core.message import Draft, draft
from pushd.hub import Hub
from pushd.metrics import Counters


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """A message before anybody checked it."""

    data: bytes
    content_type: str | None = None
    event: str | None = None
    end: bool = False


class SourcePublisher:
    """Publishes what one source says on its channel.

    A refusal is told to the log when it comes and when it is over, not for each message: a source that speaks each
    second would fill the log.

    :param source: the name of the source, for the log.
    :param channel: checked already.
    :param limit: bytes of a message.
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
        """Publish in this order; tell of each whether it was accepted. The reactor has its turns in between."""
        receipts = await self._hub.publish_all(self._draft(message) for message in messages)
        refusals = [receipt for receipt in receipts if isinstance(receipt, Refusal)]
        self._counters.refusals.update(refusal.code for refusal in refusals)
        self._log_refusals(refusals)
        return [not isinstance(receipt, Refusal) for receipt in receipts]

    def count_truncated(self, count: int) -> None:
        """Count what was cut off to the limit before it came here."""
        if count:
            self._counters.refusals[LineTooLong.code] += count

    def _draft(self, message: SourceMessage) -> Draft | Refusal:
        if len(message.data) > self.limit:
            return TooLarge(f"a message has at most {self.limit} bytes")
        try:
            return draft(self._channel, message.data, message.content_type, message.event, end=message.end)
        except Refusal as refusal:
            return refusal

    def _log_refusals(self, refusals: Sequence[Refusal]) -> None:
        code = refusals[0].code if refusals else ""
        if code and code != self._refused_code:
            self.log.warn("{source}: refused, {code}: {why}", source=self.source, code=code, why=str(refusals[0]))
        elif self._refused_code and not code:
            self.log.info("{source}: accepted again", source=self.source)
        self._refused_code = code
