"""Hooks at the choke points of the hub: connections, subscriptions, and what operators do with hooks."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from pushd.backends.hook_outbox import Backlog, HookEvent
from pushd.backends.interface import Backend
from pushd.core.cursor import EVERYTHING, NOW, MessageId, Since
from pushd.core.errors import NotFound, Refusal, Stopping
from pushd.core.message import Message
from pushd.core.names import DEAD, is_pattern
from pushd.core.peer import Peer
from pushd.core.presence import LeaveReason
from pushd.core.subscriber import Subscriber
from pushd.hooks.endpoint import HookEndpoint
from pushd.hooks.hooks import Hooks
from pushd.hooks.occupancy import Occupancy
from pushd.hooks.receiver import make_sending
from pushd.hooks.sender import HookSender
from pushd.hub.authorization import check_operation
from pushd.hub.presence import end_of
from pushd.hub.subscriptions import SubscriptionObserver

_PAGE_MESSAGES: Final = 100
_PAGE_BYTES: Final = 1 << 20


class HookStatus(NamedTuple):
    """A hook, as operators see it."""

    sender: HookSender
    backlog: Backlog


class Replayed(NamedTuple):
    """The result of a replay."""

    events: int
    cursor: MessageId
    """The position of the last dead letter: a replay after it repeats none of them."""


class _Event(msgspec.Struct):
    channel: str = ""


class _DeadLetter(msgspec.Struct):
    event: msgspec.Raw


_decode_letter = msgspec.json.Decoder(_DeadLetter).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class HubHooks:
    """The hooks of the hub. Nothing is computed for events that no hook has.

    :param clock: the reactor, which also sends the requests.
    :param wall: returns unix seconds.
    :param observer: the counters.
    """

    def __init__(self, backend: Backend, clock: Any, wall: Callable[[], float], observer: Any) -> None:
        self._backend = backend
        self.all = Hooks(backend.hooks, clock, wall, observer, partial(make_sending, clock))
        self._occupancy = Occupancy(self.all, self._is_named, clock)
        self.on_reconfigured: Callable[[SubscriptionObserver | None], None] = lambda observer: None
        """Called with the observer of subscriptions, when hooks have changed; None if no hook has their events."""
        self._has_connect = self._has_disconnect = False

    def reconfigure(self, endpoints: Sequence[HookEndpoint]) -> None:
        """Have these hooks from now on; see `Hooks.reconfigure`.

        :raises BackendUnusable: when the backend cannot keep their events.
        """
        hooks = self.all
        hooks.reconfigure(endpoints)
        self._has_connect, self._has_disconnect = hooks.has("connect"), hooks.has("disconnect")
        is_observer = hooks.has("subscribe", "unsubscribe", "occupied", "vacated")
        self.on_reconfigured(self if is_observer else None)

    def start(self) -> None:
        """Send events, after the start of the backend."""
        self.all.start()

    async def stop(self) -> None:
        """Store the last events, before the stop of the backend."""
        self._occupancy.stop()
        await self.all.stop()

    # Connections

    def on_added(self, peer: Peer) -> None:
        """Called with the peer of a new connection."""
        if self._has_connect:
            self.all.record("connect", connection=peer.id, sub=_subject(peer))

    def on_removed(self, peer: Peer, why: Refusal | None) -> None:
        """Called with the peer of a connection that was removed, and the refusal with which it was closed."""
        if self._has_disconnect:
            self.all.record("disconnect", connection=peer.id, sub=_subject(peer), reason=reason_of(why))

    # Subscriptions

    def on_first(self, topic: str) -> None:
        """Called before the first subscriber of this node is added to a topic."""
        if not is_pattern(topic):
            self._occupancy.on_first(topic)

    def on_last(self, topic: str) -> None:
        """Called when the last subscriber of this node was removed from a topic."""
        if self.all.has("occupied", "vacated") and not is_pattern(topic):
            self._occupancy.on_last(topic)

    def on_subscribed(self, subscriber: Subscriber, topics: Collection[str]) -> None:
        """Called when a subscriber was added to topics."""
        if self.all.has("subscribe"):
            peer = subscriber.peer
            for topic in topics:
                self.all.record("subscribe", topic, connection=peer.id, sub=_subject(peer))

    def on_unsubscribed(self, subscriber: Subscriber, topics: Collection[str]) -> None:
        """Called when a subscriber was removed from topics."""
        if self.all.has("unsubscribe"):
            peer = subscriber.peer
            for topic in topics:
                self.all.record("unsubscribe", topic, connection=peer.id, sub=_subject(peer))

    async def _is_named(self, channel: str) -> bool:
        return (await self._backend.audience(channel)).named

    # Operators

    async def list(self, peer: Peer) -> Sequence[HookStatus]:
        """Return all hooks.

        :raises NotGranted: when the peer may not.
        :raises Refusal: when a backlog cannot be read now.
        """
        check_operation(peer, "hooks")
        return [await self._status(sender) for sender in self.all.senders.values()]

    async def find(self, peer: Peer, name: str) -> HookStatus:
        """Return a hook.

        :raises NotGranted: when the peer may not, whether there is such a hook or not.
        :raises NotFound: when there is none.
        :raises Refusal: when its backlog cannot be read now.
        """
        check_operation(peer, "hooks")
        return await self._status(self._sender(name))

    async def replay(self, peer: Peer, name: str, since: Since = EVERYTHING) -> Replayed:
        """Send the dead letters of a hook again, after the events that wait, and at once even if it is disabled,
        at whichever node is the sender.

        :param since: only those after a cursor, or of some age.
        :raises NotGranted: when the peer may not, whether there is such a hook or not.
        :raises NotFound: when there is none.
        :raises Refusal: when the backend cannot be read now. Some may be sent again nevertheless.
        """
        check_operation(peer, "hooks")
        sender = self._sender(name)
        topics = (DEAD + name,)
        head = (await self._backend.open((), NOW)).position
        opening = await self._backend.open(topics, since)
        position, events, is_last = opening.position, 0, False
        while not is_last:
            page = await self._backend.page(topics, position, _PAGE_MESSAGES, _PAGE_BYTES)
            letters = [each for each in page.messages if head.epoch != each.epoch or each.seq <= head.seq]
            await self._backend.hooks.add([_event_of(name, letter) for letter in letters])
            events += len(letters)
            is_last = page.is_last or len(letters) < len(page.messages)
            position = page.position
        await self._backend.hooks.resume(name)  # at all nodes: another one may be the sender
        sender.resume()
        return Replayed(events, head)

    def _sender(self, name: str) -> HookSender:
        sender = self.all.senders.get(name)
        if sender is None:
            raise NotFound("there is no hook with this name")
        return sender

    async def _status(self, sender: HookSender) -> HookStatus:
        return HookStatus(sender, await self._backend.hooks.backlog(sender.endpoint.name))


def reason_of(why: Refusal | None) -> LeaveReason:
    """Return the reason of a disconnection, for the refusal with which the connection was closed."""
    if why is None:
        return "client"
    return "shutdown" if isinstance(why, Stopping) else end_of(why)[0]


def _subject(peer: Peer) -> str | None:
    return None if peer.identity is None else peer.identity.subject


def _event_of(hook: str, letter: Message) -> HookEvent:
    event = bytes(_decode_letter(letter.data).event)
    return HookEvent(hook, _decode_event(event).channel, event)
