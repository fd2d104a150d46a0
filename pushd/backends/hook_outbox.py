"""The interface of the outbox of hooks: the part of a backend that keeps events until a receiver has confirmed them.

Guarantees, tested by `tests/backends/contract_hooks.py` for each backend:

- An event that was added is kept until `confirm` or `dead_letter` removes it: over restarts if the backend keeps its
  history, and over a failover as far as Redis does.
- The events of one hook have numbers that increase in the order in which they were added, and are never used again. So
  the events of a channel are in order.
- The event of a publish is added in the same step, transaction or script that stores the message. So a message that was
  accepted has its event, and one that was refused has none. Ephemeral messages and those that are delivered on one node
  only have none; see also `has_publish_events`. `pushd.wire.hook_events` defines its JSON.
- A hook whose backlog exceeds its `HookBounds` loses its oldest events: they become dead letters, messages of the
  channel `pushd.core.names.DEAD` + NAME, in the same step. Where bounds were lowered, this takes several steps. Events
  that are too old become dead letters with the next `first`.
- Dead letters and other messages evict nothing of each other. The retention of a channel of dead letters is that of
  other channels, unless the rules for channels have `pushd.core.channel_rules.DEAD_RULE` or another one for it.
- `acquire` is granted to one node at a time. A node that is gone loses it within 15 seconds, one that stops at once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from pushd.core.names import PRESENCE

ACQUIRED_SECONDS: Final = 10.0
"""How long a node is the sender of a hook after `acquire` was called and returned True, if it is not called again."""
EVENT_OVERHEAD: Final = 200
"""What an event counts towards `HookBounds.bytes` beyond its channel and its body."""


class HookBounds(NamedTuple):
    """The most that the backlog of a hook has."""

    events: int = 100_000
    bytes: int = 64 << 20
    """Of the bodies and channels, and `EVENT_OVERHEAD` for each event."""
    age: float = 24 * 3600.0
    """Seconds."""


DEFAULT_BOUNDS: Final = HookBounds()


class HookEvent(NamedTuple):
    """An event for one hook."""

    hook: str
    channel: str
    body: bytes
    """Its JSON object, as it is sent."""


class QueuedEvent(NamedTuple):
    """An event in the outbox."""

    number: int
    channel: str
    time: float
    """When it was added, in unix seconds."""
    body: bytes


class Backlog(NamedTuple):
    """The backlog of a hook."""

    events: int
    bytes: int
    oldest: float | None
    """When its oldest event was added, in unix seconds; None if there is none."""
    dead: int
    """How many of its events have become dead letters, as long as the backend keeps its history."""


NO_BACKLOG: Final = Backlog(0, 0, None, 0)


class SharedHookState(NamedTuple):
    """What the nodes know of a hook together."""

    is_disabled: bool = False
    """Whether no node sends, since the receiver has answered that it is gone."""
    resumed: int = 0
    """Changes with each call of `HookOutbox.resume` at any node."""


UNSHARED: Final = SharedHookState()
"""The state where there is one node: its sender knows the rest."""


class PublishHook(NamedTuple):
    """A hook with the events of publishes."""

    name: str
    has_content: bool
    """Whether the event has the data of the message."""


def has_publish_events(channel: str) -> bool:
    """Return whether the messages of a channel may have events: those of users, and the events of presence."""
    return channel[0] != "$" or channel.startswith(PRESENCE)


class PublishHooks(Protocol):
    """Which hooks have the events of publishes. Called in the reactor thread."""

    def hooks_of(self, channel: str) -> Sequence[PublishHook]:
        """Return the hooks for a channel. The result is cached by channel; it is empty for most."""

    def of_members(self) -> Sequence[str]:
        """Return the names of the hooks with events of members, of any channel.

        A backend whose scripts cannot match channels adds all of these events; the sender leaves out the others.
        """


class HookOutbox(Protocol):
    """The outbox of all hooks. All methods are called in the reactor thread."""

    def reconfigure(
        self, bounds: Mapping[str, HookBounds], publish_hooks: PublishHooks | None, on_added: Callable[[str], None]
    ) -> None:
        """Set the hooks from now on. Called before the backend starts, and when the configuration changes.

        Without a call there are no hooks, and no publish takes longer because of them.

        :param bounds: those of each hook. The events of other hooks stay until `dead_letter`.
        :param publish_hooks: None if no hook has the events of publishes.
        :param on_added: called with the name of a hook when this node has added an event, perhaps for several together,
            and perhaps in the middle of a publish: it must only schedule work. Other nodes of the same Redis have to
            look for events with `first`.
        """

    async def add(self, events: Sequence[HookEvent]) -> None:
        """Add events in their order.

        :raises Refusal: when they cannot be kept now; none of them was added, or, for `OutcomeUnknown`, perhaps all.
        """

    async def first(self, hook: str, count: int, size: int) -> Sequence[QueuedEvent]:
        """Return at most `count` of the oldest events of a hook, and no further one once they have `size` bytes.

        :raises Refusal: when they cannot be read now.
        """

    async def confirm(self, hook: str, through: int) -> None:
        """Remove the events up to a number: the receiver has them. Repeats are harmless.

        :raises Refusal: when that fails now; they will be sent again.
        """

    async def dead_letter(self, hook: str, through: int, reason: str) -> None:
        """Make dead letters of the events up to a number. Repeats are harmless.

        :raises Refusal: when that fails now.
        """

    async def backlog(self, hook: str) -> Backlog:
        """Return the backlog of a hook; `NO_BACKLOG` for an unknown one.

        :raises Refusal: when it cannot be read now.
        """

    async def names(self) -> Sequence[str]:
        """Return the names of the hooks with events, sorted; also of those that are not configured any more.

        :raises Refusal: when they cannot be read now.
        """

    async def acquire(self, hook: str) -> bool:
        """Return whether this node is the sender of a hook, for `ACQUIRED_SECONDS` from the call.

        Called every few seconds by each node.

        :raises Refusal: when that is not known now.
        """

    async def disable(self, hook: str) -> None:
        """Grant the right to send to no node until `resume`. Where there is one node, nothing happens.

        :raises Refusal: when that fails now.
        """

    async def resume(self, hook: str) -> None:
        """Undo `disable`, and let all nodes know that the sender is to send at once; see `shared_state`.

        :raises Refusal: when that fails now.
        """

    def shared_state(self, hook: str) -> SharedHookState:
        """Return the state of a hook as it was when `acquire` was called last."""

    def release(self, hook: str) -> None:
        """Release the right to send, so that another node can be the sender."""
