"""Where sessions are kept besides the memory of a node, so that other nodes find them."""

from typing import Protocol

from pushd.core.peer import Peer
from pushd.dialects.bayeux.session import Session, Sessions


class SessionStore(Protocol):
    """Keeps sessions. No credential is kept."""

    async def load(self, id: str, peer: Peer, sessions: Sessions) -> Session | None:
        """Add the session with an id to the others, and return it; None if there is none.

        :param peer: who asks for it.
        """

    async def save(self, session: Session) -> None:
        """Keep the state of a session, before what it has done is answered."""

    def save_soon(self, session: Session) -> None:
        """Keep the state of a session in the background."""

    async def delete(self, session: Session) -> None:
        """Forget a session that has ended."""


class NoStore:
    """The store of a node without others: sessions are in memory only."""

    async def load(self, id: str, peer: Peer, sessions: Sessions) -> Session | None:
        """Return None."""
        return None

    async def save(self, session: Session) -> None:
        """Do nothing."""

    def save_soon(self, session: Session) -> None:
        """Do nothing."""

    async def delete(self, session: Session) -> None:
        """Do nothing."""
