"""What a supervisor is told that waits for it, as systemd does: ready, alive, reading its configuration again, stopping
(sd_notify(3)).

Each word is one datagram to the socket that ``NOTIFY_SOCKET`` names. Where nothing is named nothing is told.
"""

import os
import socket
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_LOOK_SECONDS = 0.1
"""How often it is looked whether the daemon is up, until it is."""


class Supervisor(Service):
    """Tells the supervisor of the process how it is with it.

    :param is_up: tells whether all that is needed works. The listeners do, when this service is started behind them.
    :param environ: has ``NOTIFY_SOCKET``, a path or with a leading ``@`` an abstract name, and where signs of life are
        expected ``WATCHDOG_USEC``, microseconds.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, is_up: Callable[[], bool], environ: Mapping[str, str]) -> None:
        self._is_up = is_up
        self._clock = clock
        self._address = _address_of(environ.get("NOTIFY_SOCKET", ""))
        # Twice as often as they are expected (sd_watchdog_enabled(3)).
        self._alive_seconds = _whole(environ.get("WATCHDOG_USEC", "")) / 2e6
        self._looking, self._living = LoopingCall(self._look), LoopingCall(self._tell, "WATCHDOG=1")
        self._looking.clock = self._living.clock = clock

    def startService(self) -> None:
        """Begin to tell."""
        super().startService()
        if self._address is not None:
            self._looking.start(_LOOK_SECONDS)
            if self._alive_seconds:
                self._living.start(self._alive_seconds)

    def reloading(self) -> None:
        """Tell that the daemon reads its configuration again."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={round(1e6 * self._clock.seconds())}")

    def reloaded(self) -> None:
        """Tell that it has; if it was not ready before, that comes later."""
        if self._address is not None and self.running and not self._looking.running:
            self._looking.start(_LOOK_SECONDS)

    def stopping(self) -> None:
        """Tell that the daemon is about to stop. Signs of life go on until it has."""
        self._quit(self._looking)
        self._tell("STOPPING=1")

    def stopService(self) -> None:
        """Tell nothing more."""
        super().stopService()
        self._quit(self._looking)
        self._quit(self._living)

    def _look(self) -> None:
        if self._is_up():
            self._looking.stop()
            self._tell("READY=1")

    def _tell(self, word: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(word.encode("ascii"), self._address)
        except OSError as error:
            self.log.warn("The supervisor could not be told {word}: {error}", word=word, error=str(error))

    @staticmethod
    def _quit(call: LoopingCall) -> None:
        if call.running:
            call.stop()


def _address_of(name: str) -> bytes | None:
    """Give the address of the socket (unix(7)); None where there is none, or of a kind that is not a Unix socket."""
    if name.startswith("@"):
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else None


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
