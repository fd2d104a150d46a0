"""The name of a log: a new one wherever a log begins that remembers nothing of another."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits


def new_epoch() -> str:
    """Make the name of a log that never was before."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
