"""The settings of Bayeux as plain values; pushd/config/dialects.py has the rows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BayeuxSettings:
    """What can be reloaded. All times are seconds."""

    timeout: float = 30
    """How long a `/meta/connect` is held without messages."""
    interval: float = 0
    """How long clients wait before the next `/meta/connect`."""
    max_interval: float = 10
    """How long a session without a held `/meta/connect` lasts, beyond `interval`."""
    sessions: int = 100_000
    """The most sessions."""
    sessions_per_address: int = 10_000
    """The most sessions of one address, loopback exempt."""
    persistent: tuple[str, ...] = ()
    """The topics whose subscribers have persistent sessions."""
    persistent_interval: float = 600
    """How long a persistent session without a held `/meta/connect` lasts."""
    lazy: tuple[str, ...] = ()
    """The topics whose messages wait for others."""
    lazy_time: float = 5
    """How long they wait at most."""
    max_sessions_per_browser: int = 1
    """The most connects that a browser holds over HTTP at a time; 0 means any number."""
    multi_session_interval: float = 2
    """How often its other sessions poll; with 0 they are disconnected."""
    activity: str = "client"
    """Whose messages count for `max_inactive`: ``client``, or ``client_server`` for those it receives, too."""
    max_inactive: float = 0
    """How long a session lasts without messages besides connects; 0 means any time."""
    hosts: tuple[str, ...] = ()
    """The names or addresses of other servers, which the advice of a handshake has."""
