"""The sender of a hook: one request after the other, with the oldest events, until the receiver has confirmed them."""

from collections.abc import Callable, Sequence
from enum import Enum
from math import inf
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.hook_outbox import HookOutbox, QueuedEvent
from pushd.core.errors import Refusal
from pushd.hooks.backoff import asked_pause, pause_after
from pushd.hooks.endpoint import HookEndpoint
from pushd.hooks.events import sent_events
from pushd.hooks.lease import SenderLease
from pushd.hooks.observer import HookObserver
from pushd.hooks.receiver import signed_request
from pushd.net.outgoing_requests import RequestFailed, Send

MAX_EVENTS: Final = 100
"""The most events in a request."""
MAX_BYTES: Final = 1 << 20
"""No further event is in a request that has so many bytes."""
POLL_SECONDS: Final = 1.0
"""How often another node's events are looked for."""
_BACKEND_SECONDS: Final = 2.0
"""The pause after the backend could not be read."""
_GONE: Final = 410
_ASKING: Final = (429, 503)
"""The statuses with which a receiver may ask for a pause."""
_LOG_SECONDS: Final = 60.0
"""The least time between two log lines about failures."""


class SenderState(Enum):
    """What a sender does."""

    STANDBY = "standby"
    """Another node sends, or that is not known yet."""
    IDLE = "idle"
    """There are no events."""
    SENDING = "sending"
    """A request is under way, or about to be."""
    RETRYING = "retrying"
    """The last request has failed, and will be repeated."""
    DISABLED = "disabled"
    """The receiver has answered that it is gone."""


class SenderTools(NamedTuple):
    """What a sender uses of its surroundings."""

    outbox: HookOutbox
    send: Send
    clock: Any
    unix_time: Callable[[], float]
    random: Callable[[], float]
    observer: HookObserver


class HookSender:
    """Sends the events of one hook, while this node has the right to.

    :ivar failure: why the last request failed, as a clause; empty if it did not.
    :ivar failures: how many requests have failed in a row.
    :ivar retry_at: when a failed request is repeated, in unix seconds; None if none is.
    """

    log = Logger()

    def __init__(self, endpoint: HookEndpoint, tools: SenderTools) -> None:
        self.endpoint = endpoint
        self.state = SenderState.STANDBY
        self.failure = ""
        self.failures = 0
        self.retry_at: float | None = None
        self._tools = tools
        self._lease = SenderLease(
            endpoint.name, tools.outbox, tools.clock, self._on_asked, self._on_granted, self._on_lost
        )
        self._through = 0
        """The number of the last event of a request that has failed: the same events are sent again."""
        self._confirmed = 0
        """The number of the last event that the receiver has confirmed, until the outbox has removed it."""
        self._timer: IDelayedCall | None = None
        self._turn: Deferred[float] | None = None
        self._is_woken = False
        self._resumed: int | None = None
        """How often the hook was resumed, as this node knows; None before the first reply."""
        self._log_again_at = -inf

    # What others call

    def start(self) -> None:
        """Send from now on."""
        self._lease.start()

    def stop(self) -> None:
        """Cancel the request under way, and let another node send."""
        self._lease.stop()
        self._interrupt()

    def wake(self) -> None:
        """Called when there are new events. It ends no pause after a failure."""
        if self._is_woken:
            return
        self._is_woken = True
        if self.state is SenderState.IDLE and self._turn is None:
            self._schedule(0)

    def resume(self) -> None:
        """Send at once, even if the receiver is disabled or a pause is not over."""
        if self.state is SenderState.DISABLED:
            self.state = SenderState.STANDBY
            if self._lease.is_held:
                self._schedule(0)
            else:
                self._lease.renew()
        elif self.state is SenderState.RETRYING and self._turn is None:
            self._schedule(0)

    # The right to send

    def _on_asked(self) -> None:
        shared = self._tools.outbox.shared_state(self.endpoint.name)
        before, self._resumed = self._resumed, shared.resumed
        if before is not None and before != shared.resumed:
            self.resume()
        if shared.is_disabled and self.state is not SenderState.DISABLED:
            self._on_disabled()

    def _on_granted(self) -> None:
        if self.state is SenderState.DISABLED:
            return
        if self.retry_at is None:
            self._schedule(0)
        else:  # the pause that the receiver has asked for is not over
            self.state = SenderState.RETRYING
            self._schedule(max(0.0, self.retry_at - self._tools.unix_time()))

    def _on_lost(self) -> None:
        if self.state is not SenderState.DISABLED:
            self.state = SenderState.STANDBY
        self._interrupt()

    def _interrupt(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._through = 0
        if self._turn is not None:
            self._turn.cancel()

    # Turns

    def _schedule(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._tools.clock.callLater(seconds, self._begin_turn)

    def _begin_turn(self) -> None:
        self._timer = None
        if self._turn is None:
            self._turn = Deferred()  # what the coroutine does at once must not begin another turn
            self._turn = turn = Deferred.fromCoroutine(self._take_turn())
            turn.addCallbacks(self._end_turn, self._on_bug)

    async def _take_turn(self) -> float:
        """Send one batch; return the seconds until the next turn."""
        if not self._lease.is_held or self.state is SenderState.DISABLED:
            return inf
        self._is_woken = False
        try:
            return await self._send_first()
        except RequestFailed as error:
            return await self._on_failure(error) if self._lease.is_held else inf
        except Refusal:  # of the backend, which logs it
            return _BACKEND_SECONDS

    def _end_turn(self, seconds: float) -> None:
        self._turn = None
        if self._lease.is_held and self.state is not SenderState.DISABLED:
            is_due = seconds == inf or (self._is_woken and self.state is SenderState.IDLE)
            self._schedule(0 if is_due else seconds)

    def _on_bug(self, failure: Failure) -> None:
        self._turn = None
        if self._lease.is_held:
            self.log.failure("Hook {name}: sending failed with an internal error", failure, name=self.endpoint.name)
            self._schedule(_BACKEND_SECONDS)

    # Sending

    async def _send_first(self) -> float:
        await self._confirm()
        name = self.endpoint.name
        events = self._repeated(await self._tools.outbox.first(name, MAX_EVENTS, MAX_BYTES))
        if not events:
            self.state = SenderState.IDLE
            return POLL_SECONDS
        self.state, self.retry_at, self._through = SenderState.SENDING, None, events[-1].number
        bodies = [body for event in events for body in sent_events(self.endpoint, event)]
        for start in range(0, len(bodies), MAX_EVENTS):
            await self._send(bodies[start : start + MAX_EVENTS])
        self._confirmed, self._through = events[-1].number, 0
        await self._confirm()
        return 0

    async def _send(self, bodies: Sequence[bytes]) -> None:
        """Send a batch.

        :raises RequestFailed: when it is not confirmed.
        """
        body = batch(self.endpoint.name, bodies)
        await self._tools.send(signed_request(self.endpoint, body, int(self._tools.unix_time())))
        self._on_success(len(bodies))

    def _repeated(self, events: Sequence[QueuedEvent]) -> Sequence[QueuedEvent]:
        """Return the events of the request that has failed, as far as they are still there, or all if none are."""
        return [event for event in events if event.number <= self._through] or events

    async def _confirm(self) -> None:
        if self._confirmed:
            await self._tools.outbox.confirm(self.endpoint.name, self._confirmed)
            self._confirmed = 0

    def _on_success(self, events: int) -> None:
        name, observer = self.endpoint.name, self._tools.observer
        observer.hook_sent[name] += events
        observer.hook_requests[name, "sent"] += 1
        if self.failures:
            self.log.info("Hook {name}: the receiver confirms events again", name=name)
        self.failures, self.failure, self._log_again_at = 0, "", -inf

    async def _on_failure(self, error: RequestFailed) -> float:
        name = self.endpoint.name
        self._tools.observer.hook_requests[name, error.kind] += 1
        self.failures, self.failure = self.failures + 1, str(error)
        if error.status == _GONE:
            return await self._disable()
        asked = asked_pause(error.retry_after, self._tools.unix_time()) if error.status in _ASKING else 0.0
        seconds = max(asked, pause_after(self.failures, self._tools.random()))
        self.state, self.retry_at = SenderState.RETRYING, self._tools.unix_time() + seconds
        self._log_failure(seconds)
        return seconds

    async def _disable(self) -> float:
        try:
            await self._tools.outbox.disable(self.endpoint.name)
        except Refusal:  # of the backend: the request is repeated
            return _BACKEND_SECONDS
        if self.state is not SenderState.DISABLED:
            self._on_disabled()
        return inf

    def _on_disabled(self) -> None:
        self.state, self.retry_at = SenderState.DISABLED, None
        self.log.error(
            "Hook {name} is disabled: its receiver has the status 410; events are kept until a reload or "
            "POST /hooks/{name}/replay",
            name=self.endpoint.name,
        )

    def _log_failure(self, seconds: float) -> None:
        now = self._tools.clock.seconds()
        if now >= self._log_again_at:
            self._log_again_at = now + _LOG_SECONDS
            self.log.warn(
                "Hook {name}: request {count} in a row has failed: {reason}; it is repeated in {seconds:.0f} s",
                name=self.endpoint.name,
                count=self.failures,
                reason=self.failure,
                seconds=seconds,
            )


def batch(hook: str, events: Sequence[bytes]) -> bytes:
    """Return the JSON of a batch: ``{"hook":NAME,"events":[...]}``."""
    return b'{"hook":"%b","events":[%b]}' % (hook.encode("ascii"), b",".join(events))
