"""All hooks of a daemon: their events, and a sender for each."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.hook_outbox import Backlog, HookEvent, HookOutbox
from pushd.core.errors import Refusal
from pushd.hooks.endpoint import EventType, HookEndpoint
from pushd.hooks.event_queue import EventQueue
from pushd.hooks.events import event
from pushd.hooks.observer import HookObserver
from pushd.hooks.selection import HookSelection
from pushd.hooks.sender import HookSender, SenderState, SenderTools
from pushd.net.eager_task import run_eagerly
from pushd.net.outgoing_requests import Send


class Hooks:
    """The hooks. There are none before `reconfigure`.

    :param wall: returns unix seconds.
    :param make_sending: returns what sends the requests for a URL.
    """

    log = Logger()

    def __init__(
        self,
        outbox: HookOutbox,
        clock: Any,
        wall: Callable[[], float],
        observer: HookObserver,
        make_sending: Callable[[str], Send],
    ) -> None:
        self._make_sending = make_sending
        self._outbox = outbox
        self._clock = clock
        self._wall = wall
        self._observer = observer
        self._selection = HookSelection(())
        self._queue = EventQueue(outbox, clock, observer)
        self._senders: dict[str, HookSender] = {}
        self._is_started = False

    @property
    def senders(self) -> Mapping[str, HookSender]:
        """The senders by the names of their hooks."""
        return self._senders

    @property
    def failures(self) -> list[str]:
        """What does not work, as phrases."""
        disabled = [name for name, each in self._senders.items() if each.state is SenderState.DISABLED]
        return [f"hook {name} is disabled, since its receiver is gone" for name in disabled]

    # Start, reload and stop

    def start(self) -> None:
        """Send events from now on."""
        self._is_started = True
        for sender in self._senders.values():
            sender.start()

    def reconfigure(self, endpoints: Sequence[HookEndpoint]) -> None:
        """Replace the hooks. Those that have not changed, and whose receivers are gone, try again.

        :raises BackendUnusable: when the backend cannot keep their events; nothing has changed then.
        """
        if not endpoints and not self._senders:
            return
        selection = HookSelection(endpoints)
        bounds = {endpoint.name: endpoint.bounds for endpoint in endpoints}
        self._outbox.reconfigure(bounds, selection if selection.has_publishes else None, self._on_added)
        self._selection = selection
        before, self._senders = self._senders, {}
        for endpoint in endpoints:
            known = before.get(endpoint.name)
            if known is not None and known.endpoint == endpoint:
                self._senders[endpoint.name] = before.pop(endpoint.name)
                known.resume()
                run_eagerly(self._resume_all(endpoint.name), self._on_bug)
            else:
                self._senders[endpoint.name] = self._sender(endpoint)
        for sender in before.values():
            sender.stop()
        if self._is_started:
            self.start()

    async def stop(self) -> None:
        """Store the last events, and stop sending."""
        if self._senders:
            await self._queue.flush()
        for sender in self._senders.values():
            sender.stop()

    def _sender(self, endpoint: HookEndpoint) -> HookSender:
        send = self._make_sending(endpoint.url)
        tools = SenderTools(self._outbox, send, self._clock, self._wall, random.random, self._observer)
        return HookSender(endpoint, tools)

    async def _resume_all(self, name: str) -> None:
        """Enable a hook again at the other nodes."""
        try:
            await self._outbox.resume(name)
        except Refusal as refusal:
            self.log.warn("Hook {name} may stay disabled: reload again; {why}", name=name, why=str(refusal))

    def _on_bug(self, failure: Failure) -> None:
        self.log.failure("Hooks: resuming failed with an internal error", failure)

    def _on_added(self, name: str) -> None:
        if name in self._senders:
            self._senders[name].wake()

    # Events

    def has(self, *kinds: EventType) -> bool:
        """Return whether a hook has one of some events, for any channel."""
        return any(map(self._selection.has, kinds))

    def wants(self, kind: EventType, topic: str) -> bool:
        """Return whether a hook has an event on a topic."""
        return self._selection.has(kind) and bool(self._selection.names(kind, topic))

    def record(self, kind: EventType, topic: str = "", **fields: str | None) -> None:
        """Store an event for each hook that has it.

        :param topic: the channel that it is about, or the pattern of a subscription; empty for connections.
        """
        for each in self.events(kind, topic, **fields):
            self._queue.add(each)

    def events(self, kind: EventType, topic: str = "", **fields: str | None) -> Sequence[HookEvent]:
        """Return an event for each hook that has it, without storing it; see `record`."""
        names = self._selection.names(kind, topic)
        if not names:
            return ()
        body = event(kind, topic, self._wall(), **fields)
        return [HookEvent(name, topic, body) for name in names]

    async def backlogs(self) -> dict[str, Backlog]:
        """Return the backlogs of the hooks; without those that cannot be read now."""
        found = {}
        for name in self._senders:
            try:
                found[name] = await self._outbox.backlog(name)
            except Refusal:
                continue
        return found
