"""Ids of connections: 128 bits that reveal neither how many connections there were nor the id of another one."""

import re
from hashlib import blake2b
from typing import Final

_HALF: Final = 64
"""Bits of one half of an id."""
_MASK: Final = (1 << _HALF) - 1
_ROUNDS: Final = range(4)
_ID = re.compile(r"[0-9a-f]{32}")


class ConnectionIds:
    """Converts the numbers of connections to ids and back.

    An id is the number, encrypted by a Feistel network of four rounds with keyed BLAKE2b (Luby and Rackoff, "How to
    construct pseudorandom permutations from pseudorandom functions", 1988). So it takes no memory per connection, and
    connections can still be listed after one that has been closed.

    :param key: at least 16 random bytes, the same for all ids of a daemon.
    """

    def __init__(self, key: bytes) -> None:
        self._functions = [blake2b(key=key, digest_size=_HALF // 8, person=b"%d" % number) for number in _ROUNDS]

    def encode(self, number: int) -> str:
        """Return the id of a number from 0 to 2**64 - 1: 32 hexadecimal digits."""
        left, right = 0, number
        for function in _ROUNDS:
            left, right = right, left ^ self._mix(function, right)
        return f"{left << _HALF | right:032x}"

    def decode(self, text: str) -> int | None:
        """Return the number of an id; None when it is no id of this daemon."""
        if not _ID.fullmatch(text):
            return None
        left, right = int(text, 16) >> _HALF, int(text, 16) & _MASK
        for function in reversed(_ROUNDS):
            left, right = right ^ self._mix(function, left), left
        return None if left else right

    def _mix(self, function: int, half: int) -> int:
        digest = self._functions[function].copy()
        digest.update(half.to_bytes(_HALF // 8))
        return int.from_bytes(digest.digest())
