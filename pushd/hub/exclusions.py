"""Exclusions: the connection of a publisher to which its message is not delivered, such as an echo."""

from msgspec import structs

from pushd.core.errors import Forbidden, Refusal
from pushd.core.identity import owner_of
from pushd.core.message import Draft, Exclusion
from pushd.core.peer import Peer
from pushd.core.register import Register
from pushd.core.subscriber import Subscriber


class Exclusions:
    """Resolves exclusions to the connections of this node."""

    def __init__(self, register: Register) -> None:
        self._register = register

    def checked(self, peer: Peer, draft: Draft) -> Draft:
        """Return a draft whose exclusion names the connection and its owner, by which other nodes check it.

        A connection that is not at this node is left to them.

        :raises Forbidden: when the connection is another publisher's.
        """
        exclude = draft.exclude
        if exclude is None:
            return draft
        id = exclude.connection or peer.id
        if not id:  # the publisher has no connection that could receive it
            return structs.replace(draft, exclude=None)
        named = Exclusion(id, owner_of(peer.identity))
        subscriber = self._register.find(id)
        if subscriber is not None and not _is_owner(subscriber, named):
            raise Forbidden("connection in except must have the identity of the publisher")
        return structs.replace(draft, exclude=named)

    def judged(self, peer: Peer, items: list[Draft | Refusal]) -> list[Draft | Refusal]:
        """Return items with what `checked` returns or raises in the place of each draft with an exclusion."""
        return [
            item if isinstance(item, Refusal) or item.exclude is None else self._judged(peer, item) for item in items
        ]

    def _judged(self, peer: Peer, draft: Draft) -> Draft | Refusal:
        try:
            return self.checked(peer, draft)
        except Forbidden as refusal:
            return refusal.without_traceback()

    def find(self, exclude: Exclusion) -> Subscriber | None:
        """Return the subscriber of a connection at this node, if it is the publisher's."""
        subscriber = self._register.find(exclude.connection)
        return subscriber if subscriber is not None and _is_owner(subscriber, exclude) else None

    def count(self, draft: Draft) -> int:
        """Return how many subscribers of the channel at this node do not receive the message: 0 or 1."""
        subscriber = None if draft.exclude is None else self.find(draft.exclude)
        return int(subscriber is not None and subscriber.topic_of(draft.channel) is not None)


def _is_owner(subscriber: Subscriber, exclude: Exclusion) -> bool:
    return owner_of(subscriber.peer.identity) == exclude.owner
