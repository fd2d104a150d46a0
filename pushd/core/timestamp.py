"""Timestamps: unix seconds with milliseconds, as every backend records them and compares them to cursors."""


def round_timestamp(unix: float) -> float:
    """Round unix seconds to the nearest millisecond.

    All backends use it for messages and cursors, so a message accepted at a time or later is never before that time.
    """
    return int(1000 * unix + 0.5) / 1000
