"""The settings of Bayeux as plain values; pushd/config/dialects.py has the rows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """The times that are announced to clients as advice. All are seconds."""

    timeout: float = 30
    """How long a `/meta/connect` is held without messages."""
    interval: float = 0
    """How long clients wait before the next `/meta/connect`."""
    max_interval: float = 10
    """How long a session without a held `/meta/connect` lasts, beyond `interval`."""
