"""Epochs: the name of a log, new whenever a log starts without the history of another."""

import secrets
import string

_ALPHABET = string.ascii_letters + string.digits


def new_epoch() -> str:
    """Return a new random epoch: 8 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
