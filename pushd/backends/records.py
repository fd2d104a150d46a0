"""Records: what a dialect keeps about its clients, so that every node finds them. One of the nodes owns each."""

from typing import NamedTuple, Protocol


class OwnedRecord(NamedTuple):
    """A record, with the node that owned it before."""

    owner: str
    data: bytes


class Records(Protocol):
    """The records of all nodes."""

    async def take(self, key: str, seconds: float) -> OwnedRecord | None:
        """Own a record from now on, and return it; None if there is none.

        :param seconds: how long it is kept.
        :raises Unavailable: when it cannot be taken now.
        """

    async def read(self, key: str) -> OwnedRecord | None:
        """Return a record without owning it; None if there is none.

        :raises Unavailable: when it cannot be read now.
        """

    async def save(self, key: str, data: bytes, seconds: float) -> bool:
        """Keep a record; return False, and change nothing, if another node owns it by now.

        :raises Unavailable: when it cannot be kept now.
        """

    async def delete(self, key: str) -> None:
        """Delete a record, whoever owns it.

        :raises Unavailable: when it cannot be deleted now.
        """
