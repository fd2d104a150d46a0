"""When a request is repeated after failures."""

from email.utils import parsedate_to_datetime
from typing import Final

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0
"""The longest pause that the number of failures leads to: an application that is back gets its events soon."""
MAX_RETRY_AFTER: Final = 24 * 3600.0
"""The longest pause that a receiver can ask for, in seconds."""
_MAX_DOUBLINGS: Final = 10


def pause_after(failures: int, share: float) -> float:
    """Return the seconds until the next attempt.

    :param failures: how many attempts have failed in a row, at least one.
    :param share: a random number from 0 to 1, so that many senders do not come at once.
    """
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, _MAX_DOUBLINGS))
    return longest * (0.5 + share / 2)


def asked_pause(retry_after: str | None, now: float) -> float:
    """Return the seconds that a receiver asks for with ``Retry-After`` (RFC 9110, section 10.2.3); 0 if it does not.

    :param retry_after: seconds, or a date.
    :param now: unix seconds.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), MAX_RETRY_AFTER)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError):
        return 0.0
