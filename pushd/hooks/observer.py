"""What hooks count, for the metrics."""

from collections import Counter
from typing import Protocol


class HookObserver(Protocol):
    """Counters of hooks."""

    hook_sent: Counter[str]
    """Events that the receiver has confirmed, by hook."""
    hook_requests: Counter[tuple[str, str]]
    """Requests, by hook and outcome: ``sent``, or the kind of the failure."""
    hook_lost: Counter[str]
    """Events that could not be stored, by hook."""
