"""The sessions of a daemon with a history on disk, over a restart, and over its end by any signal.

The topics of a session are written before a subscription is answered, and how far its client has read a moment later.
What a client that acknowledges has received meanwhile is known from its next connect.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.core.peer import Peer
from pushd.dialects.bayeux.session import Session, Sessions
from pushd.dialects.bayeux.session_journal import SessionJournal, line_of
from pushd.dialects.bayeux.store import NoStore, dump, key_of, restore
from pushd.hub.hub import Hub

_DAMAGED: Final = (msgspec.MsgspecError, LookupError, AttributeError, TypeError, ValueError)
"""What is raised for a state that was damaged by a power cut."""
_WRITE_SECONDS: Final = 0.1
"""After this time the progress of sessions is written."""


class FileStore(NoStore):
    """Keeps sessions in memory, and in a file for the next run."""

    log = Logger()

    def __init__(
        self, hub: Hub, file: Path, sessions: Sessions, renew: Callable[[Peer], None], clock: IReactorTime
    ) -> None:
        self._hub = hub
        self._sessions = sessions
        self._renew = renew
        self._clock = clock
        self._journal = SessionJournal(file, clock)
        self._is_open = False
        """Whether the file is open: the directory is created after this object."""
        self._kept: dict[str, bytes] = {}
        """The sessions of the run before that have not returned."""
        self._read: dict[Session, None] = {}
        """The sessions whose progress is written soon."""
        self._writing: IDelayedCall | None = None
        self._forgetting: IDelayedCall | None = None
        settings = sessions.settings
        self._until = clock.seconds() + settings.timeout + max(settings.max_interval, settings.persistent_interval)
        """The monotonic seconds at which the sessions of the run before have expired."""

    async def find(self, id: str, peer: Peer, sessions: Sessions, *, owns: bool) -> Session | None:
        """See `SessionStore`."""
        self._open()
        session = sessions.find(id)
        if session is not None or not self._kept or self._clock.seconds() >= self._until:
            return session
        key = key_of(id)
        data = self._kept.get(key)
        if data is None:
            return None
        try:
            restored = await restore(self._hub, self._renew, sessions, id, data, peer)
        except _DAMAGED as error:
            self.log.warn("A Bayeux session of the run before is lost: {why!r}", why=error)
            self._kept.pop(key, None)
            return None
        if self._kept.pop(key, None) is None:  # another request was faster
            return sessions.find(id)
        return sessions.add(restored)

    async def save(self, session: Session) -> None:
        """See `SessionStore`."""
        self._open()
        if self._sessions.find(session.id) is session:
            self._write(session)

    def save_soon(self, session: Session, *, is_changed: bool = False) -> None:
        """See `SessionStore`."""
        if self._sessions.find(session.id) is not session:
            return
        self._read[session] = None
        if self._writing is None:
            self._writing = self._clock.callLater(_WRITE_SECONDS, self._write_read)

    def forget(self, session: Session) -> None:
        """See `SessionStore`."""
        self._read.pop(session, None)
        self._journal.append(key_of(session.id), None)

    def stop(self) -> None:
        """Write what was not written, and close the file."""
        for call in (self._writing, self._forgetting):
            if call is not None and call.active():
                call.cancel()
        self._write_read()
        self._journal.close()

    def _open(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        self._kept = self._journal.open()
        if self._kept:
            self._forgetting = self._clock.callLater(max(0.0, self._until - self._clock.seconds()), self._forget_kept)

    def _write(self, session: Session) -> None:
        self._journal.append(key_of(session.id), dump(session))
        if self._journal.needs_rewrite:
            self._journal.rewrite(self._lines())

    def _write_read(self) -> None:
        """Write the progress of the sessions that have read."""
        self._writing = None
        read, self._read = self._read, {}
        for session in read:
            self._write(session)

    def _forget_kept(self) -> None:
        """Forget the sessions of the run before that have not returned in time."""
        self._kept = {}
        self._journal.rewrite(self._lines())

    def _lines(self) -> Iterator[bytes]:
        """Return the lines of all sessions, as they are when each is asked for."""
        for key in list(self._kept):
            if key in self._kept:
                yield line_of(key, self._kept[key])
        for session in self._sessions:
            if self._sessions.find(session.id) is session:
                yield line_of(key_of(session.id), dump(session))
