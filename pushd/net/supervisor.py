"""Notifications to a service supervisor such as systemd: ready, watchdog, reloading, stopping (sd_notify(3)).

Each is one datagram to the socket that ``NOTIFY_SOCKET`` names. Without that variable nothing is sent.
"""

import os
import socket
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_CHECK_SECONDS = 0.1
"""The interval at which `is_up` is checked, until it is true."""


class Supervisor(Service):
    """Sends notifications about the daemon to its supervisor.

    :param is_up: whether the daemon is ready. The listeners are if this service is started after them.
    :param environ: may have ``NOTIFY_SOCKET``, a path or an abstract name with a leading ``@``, and ``WATCHDOG_USEC``,
        the microseconds within which the supervisor expects a watchdog notification.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, is_up: Callable[[], bool], environ: Mapping[str, str]) -> None:
        self._is_up = is_up
        self._clock = clock
        self._address = _address_of(environ.get("NOTIFY_SOCKET", ""))
        # Twice as often as expected (sd_watchdog_enabled(3)).
        self._watchdog_seconds = _whole_number(environ.get("WATCHDOG_USEC", "")) / 2e6
        self._checking, self._watchdog = LoopingCall(self._check), LoopingCall(self._notify, "WATCHDOG=1")
        self._checking.clock = self._watchdog.clock = clock

    def startService(self) -> None:
        """Start to send notifications."""
        super().startService()
        if self._address is not None:
            self._checking.start(_CHECK_SECONDS)
            if self._watchdog_seconds:
                self._watchdog.start(self._watchdog_seconds)

    def reloading(self) -> None:
        """Notify that a reload of the configuration has started."""
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={round(1e6 * self._clock.seconds())}")

    def reloaded(self) -> None:
        """Notify that the reload has finished, as soon as the daemon is ready."""
        if self._address is not None and self.running and not self._checking.running:
            self._checking.start(_CHECK_SECONDS)

    def stopping(self) -> None:
        """Notify that the daemon shuts down. Watchdog notifications continue until it has stopped."""
        self._stop(self._checking)
        self._notify("STOPPING=1")

    def stopService(self) -> None:
        """Stop all notifications."""
        super().stopService()
        self._stop(self._checking)
        self._stop(self._watchdog)

    def _check(self) -> None:
        if self._is_up():
            self._checking.stop()
            self._notify("READY=1")

    def _notify(self, state: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(state.encode("ascii"), self._address)
        except OSError as error:
            self.log.warn("Notifying the supervisor of {state} failed: {error}", state=state, error=str(error))

    @staticmethod
    def _stop(call: LoopingCall) -> None:
        if call.running:
            call.stop()


def _address_of(name: str) -> bytes | None:
    """Return the address of a Unix socket (unix(7)); None if the name is empty or of another kind."""
    if name.startswith("@"):
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else None


def _whole_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
