"""The sessions of a daemon with a history on disk, over a restart: a file that is written when it stops.

After the end of the process by a signal that cannot be handled, or a power cut, there is no file, and clients make
another handshake.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from twisted.logger import Logger

from pushd.core.peer import Peer
from pushd.dialects.bayeux.session import Session, Sessions
from pushd.dialects.bayeux.store import NoStore, dump, key_of, restore
from pushd.hub.hub import Hub

_Records = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Records).decode


class FileStore(NoStore):
    """Keeps sessions in memory, and in a file while the daemon does not run.

    :param seconds: returns monotonic seconds.
    """

    log = Logger()

    def __init__(
        self,
        hub: Hub,
        file: Path,
        sessions: Sessions,
        renew: Callable[[Peer], None],
        seconds: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._file = file
        self._sessions = sessions
        self._renew = renew
        self._seconds = seconds
        self._kept = self._read()
        """The sessions of the run before that have not returned."""
        settings = sessions.settings
        self._until = seconds() + settings.timeout + max(settings.max_interval, settings.persistent_interval)

    async def find(self, id: str, peer: Peer, sessions: Sessions, *, owns: bool) -> Session | None:
        """See `SessionStore`."""
        session = sessions.find(id)
        if session is not None or not self._kept:
            return session
        if self._seconds() > self._until:
            self._kept = {}
        data = self._kept.pop(key_of(id), None)
        return (
            None
            if data is None
            else sessions.add(await restore(self._hub, self._renew, sessions, id, bytes(data), peer))
        )

    def stop(self) -> None:
        """Write the sessions, for the next run."""
        records = {key_of(session.id): msgspec.Raw(dump(session)) for session in self._sessions}
        if not records:
            return
        try:
            with os.fdopen(os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(msgspec.json.encode(records))
        except OSError as error:
            self.log.warn(
                "Bayeux sessions are not kept over this restart: {file}: {why}",
                file=str(self._file),
                why=error.strerror,
            )

    def _read(self) -> _Records:
        """Read and remove the file. One that is damaged is ignored."""
        try:
            data = self._file.read_bytes()
            self._file.unlink()
            return _decode(data)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            self.log.warn("Bayeux sessions of the run before are lost: {why}", why=str(error))
            return {}
