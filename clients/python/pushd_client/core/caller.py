"""Performs calls: attempts, retries, renewal of the token."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ..errors import AuthenticationFailed, ConnectionFailed, PushdError, Refused, TemporarilyRefused
from ..publications import Publication
from . import calls
from .address import USER_AGENT, Address
from .backoff import Delays
from .call import Call
from .calls import Outcome
from .interface import HttpRequest, HttpResponse, Network
from .refusals import refusal_of
from .token_source import TokenSource, authorization

T = TypeVar("T")

MAX_RETRY_SECONDS = 100.0
"""Twenty seconds less than the daemon remembers an Idempotency-Key, so that no late repeat is published again."""
_SHORTEST_SECONDS = 0.01
"""The least time for another attempt. With less, it would only hide why the one before has failed."""
_PART_LINES = 5_000
"""The most lines of a batch that are sent at once: a tenth of what the daemon accepts."""
_PART_BYTES = 4 << 20
"""The most bytes of lines that are sent at once, if there are several: a quarter of what the daemon accepts."""


class Caller:
    """Performs the calls of one client."""

    def __init__(
        self,
        address: Address,
        network: Network,
        tokens: TokenSource,
        timeout: float,
        retry_seconds: float,
        start_delays: Callable[[], Delays],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be a positive number of seconds (got {timeout})")
        if not 0 <= retry_seconds <= MAX_RETRY_SECONDS:
            raise ValueError(f"retry_seconds must be between 0 and {MAX_RETRY_SECONDS:.0f} (got {retry_seconds})")
        self._address = address
        self._network = network
        self._tokens = tokens
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._start_delays = start_delays
        self._clock = clock

    async def perform(self, call: Call[T]) -> T:
        """Return the result of a call.

        :raises PushdError: when it fails, and cannot be repeated, or was repeated for long enough.
        """
        deadline = self._clock() + self._retry_seconds
        delays = self._start_delays()
        token, is_renewed, seconds = await self._tokens.get(), False, self._timeout
        is_sent = False
        last: PushdError
        while True:
            try:
                return _parse(call, await self._network.send(self._request(call, token, seconds)))
            except AuthenticationFailed:
                new = None if is_renewed else await self._tokens.renew(token)
                if new is None:
                    raise
                token, is_renewed = new, True
                continue
            except PushdError as error:
                if not call.repeat.allows(error):
                    raise
                is_sent |= isinstance(error, ConnectionFailed) and error.is_sent
                last = error
            delay = delays.delay(last.retry_after if isinstance(last, Refused) else None)
            is_over = self._clock() + delay >= deadline
            if not is_over:
                await self._network.sleep(delay)
                seconds = min(self._timeout, deadline - self._clock())
                is_over = seconds < _SHORTEST_SECONDS
            if is_over:
                # The last attempt was not received, but an earlier one may have been.
                raise ConnectionFailed(str(last)) if is_sent and isinstance(last, ConnectionFailed) else last

    async def publish_batch(self, messages: Iterable[Publication], key: str | None) -> list[Outcome]:
        """Publish messages in parts, and repeat those that are refused for a while.

        :returns: the outcome of each message, in the same order.
        """
        messages = list(messages)
        is_kept = all(message.keep for message in messages)
        if key is not None and not is_kept:
            raise ValueError("key must be omitted unless keep is true for every message of the batch")
        prefix = (key or calls.new_key()) if is_kept else None
        lines = calls.encode_batch(messages)
        outcomes: list[Outcome] = []
        for number, part in enumerate(_parts(lines)):
            outcomes += await self._publish_part(part, None if prefix is None else f"{prefix}/{number}")
        return outcomes

    async def _publish_part(self, lines: Sequence[bytes], key: str | None) -> list[Outcome]:
        outcomes = await self.perform(calls.batch(lines, key))
        deadline, delays, attempt = self._clock() + self._retry_seconds, self._start_delays(), 0
        while refused := {index: each for index, each in enumerate(outcomes) if _is_repeatable(each)}:
            delay = delays.delay(1.0)
            if self._clock() + delay >= deadline:
                break
            await self._network.sleep(delay)
            attempt += 1
            again = calls.batch([lines[index] for index in refused], key and f"{key}/{attempt}")
            repeated = await self.perform(again)
            for index, outcome in zip(refused, repeated, strict=True):
                outcomes[index] = outcome
        return outcomes

    def _request(self, call: Call[T], token: str | None, seconds: float) -> HttpRequest:
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT, **call.headers, **authorization(token)}
        target = self._address.target(call.path, call.query)
        return HttpRequest(call.method, target, headers, call.body, seconds + call.extra_seconds)


def _parse(call: Call[T], response: HttpResponse) -> T:
    if not 200 <= response.status < 300:
        raise refusal_of(response)
    try:
        return call.parse(response)
    except (LookupError, TypeError, ValueError) as error:
        raise Refused("not-pushd", f"answer to {call.method} {call.path} is not one of pushd: {error!r}") from error


def _is_repeatable(outcome: Outcome) -> bool:
    """Return whether a line was refused for a while. A repeat has another key, so the first must not be done."""
    return isinstance(outcome, TemporarilyRefused) and outcome.code not in ("internal", "outcome-unknown")


def _parts(lines: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    """Yield lines in parts of limited size."""
    first = size = 0
    for index, line in enumerate(lines):
        if index - first >= _PART_LINES or (size and size + len(line) > _PART_BYTES):
            yield lines[first:index]
            first, size = index, 0
        size += len(line) + 1
    if first < len(lines):
        yield lines[first:]
