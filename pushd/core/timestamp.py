"""Timestamps: unix seconds with milliseconds, as backends record them and compare them to cursors; and as text."""

from datetime import UTC, datetime


def round_timestamp(unix: float) -> float:
    """Round unix seconds to the nearest millisecond.

    All backends use it for messages and cursors, so a message accepted at a time or later is never before that time.
    """
    return int(1000 * unix + 0.5) / 1000


def utc_text(unix: float) -> str:
    """Return unix seconds as a date and a time in UTC, with milliseconds (RFC 3339)."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
