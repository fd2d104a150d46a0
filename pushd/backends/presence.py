"""The interface of presence: the part of a backend that keeps the members of channels, and its guarantees.

`tests/backends/contract_presence.py` tests these guarantees for each backend that has members:

- The list of members and their events change together: in one step in memory, in one transaction in a file, in one
  script in Redis. So the list always is what a replay of all events results in, apart from changes that wait for a
  diff, which the list has already and whose events are after `MemberList.position`.
- Events are messages on ``$presence/CHANNEL``, in the one sequence of the log, with bounds of their own
  (`Bounds.of_events`). They are passed to `BackendEvents.on_message` like all others.
- What is an event, and when, is decided by the rules of `pushd.core.presence_state`: one ``enter`` with the first
  connection or lease of a member on any node, one ``leave`` when the last is gone. Above
  `pushd.core.presence_events.MAX_PER_SECOND` changes a second on a channel they are sent as one diff a second.
- A lease belongs to the backend: it lasts until its time, whatever happens to the node that has renewed it.
- Connections belong to the node that calls `apply`. A backend of one node keeps its members over a restart if it keeps
  its history; all of them are in grace then.

A backend that is shared by nodes must in addition guarantee, by a lease per node and not per member:

- The connections of a member are those of all nodes: an `Enter` or `Leave` changes the number of this node, under the
  incarnation of its lease, in the same script that writes the list and publishes the event.
- When the lease of a node expires, all its members leave within 15 seconds of its last sign of life, without a further
  grace. Any node may run the script that removes them, and twice does no harm: it compares the incarnation, writes the
  leaves and publishes them.
- A node whose lease has expired, and every node after Redis has lost data, gets a new incarnation, and enters the
  connections that it has: the backend counts those of its `apply` calls. What is there under an older incarnation is
  dropped. Events are published for the differences only.
- Graces and leases end by the clock of Redis.
- While Redis is known to be away, `apply` raises `Unavailable` for all changes but `Leave`. Changes of connections that
  Redis did not get are in effect, and made up for when it is reached again.
- `TooManyMembers` is raised by what a node knew of the number a second ago.
- With `stop`, the connections of the node are lost: their members are in grace, and may return to another node.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pushd.core.cursor import MessageId
from pushd.core.presence import Change, MemberInfo, MemberPage, Seen


class MemberList(NamedTuple):
    """A page of members, and where their events continue."""

    page: MemberPage
    position: MessageId
    """All events after it are of changes that the page may not have, and none before it is of such a change."""


class PresenceUsage(NamedTuple):
    """The members of a backend, as counts."""

    members: int
    channels: int
    """With members."""
    remembered: int
    """Members that have left and were seen in the last 24 hours."""
    events: Mapping[str, int]
    """The events that were published, by action: by this node since its start, or by all nodes on one Redis."""


class PresenceBackend(Protocol):
    """The members of channels. All methods are called in the reactor thread."""

    def reconfigure(self, grace: float, limit: int) -> None:
        """Change the grace of connections that are lost from now on, in seconds, and the most members."""

    async def apply(self, changes: Sequence[Change]) -> None:
        """Apply changes in their order, after those of all earlier calls, and publish their events.

        When it raises a refusal, the changes before the refused one have been applied. An `Enter`, `Update` or `Leave`
        that is refused is not in effect. One that is in effect and could not be stored is not refused: its event
        follows when the backend accepts it.

        :raises TooManyMembers, UnknownMember: see `PresenceState.apply`.
        :raises Refusal: when they cannot be stored now. A lease may have been renewed or ended nevertheless.
        """

    async def members(self, channel: str, after: str, limit: int) -> MemberList:
        """Return at most `limit` members of a channel whose ids sort after `after`.

        :raises Refusal: when they cannot be read now.
        """

    async def count(self, channel: str) -> int:
        """Return the number of members of a channel, in constant time.

        :raises Refusal: when it cannot be read now.
        """

    async def find(self, channel: str, id: str) -> MemberInfo | None:
        """Return a member; None if it is not there.

        :raises Refusal: when it cannot be read now.
        """

    async def seen(self, channel: str, id: str) -> Seen | None:
        """Return when a member was seen last; None if it is unknown, or left more than 24 hours ago.

        :raises Refusal: when it cannot be read now.
        """

    @property
    def usage(self) -> PresenceUsage | None:
        """The number of members; None where it is unknown."""
