"""The body of the request that is being read: its limit, and its share of the memory budget."""

from typing import Final

from pushd.core.budget import Budget, Holder
from pushd.core.errors import TooLarge

_CHUNK_OVERHEAD: Final = 8
"""The most bytes that one byte of a body is expected to take as a chunk of its own: size, line ends and the byte."""


class RequestBody:
    """Assembles a body from pieces.

    Its bytes count against the memory budget from the first `charge` until it is complete or discarded.
    """

    __slots__ = ("_budget", "_charged", "_data", "_holder", "limit", "size")

    def __init__(self, budget: Budget) -> None:
        self.limit = 0
        """The most bytes."""
        self.size = 0
        """Bytes received so far. It stays when the body is complete, until the next request."""
        self._budget = budget
        self._holder: Holder | None = None
        """Set while there is a charge, so that it is not kept alive."""
        self._charged = 0
        self._data: bytes | bytearray = b""

    @property
    def encoded_size(self) -> int:
        """The most bytes that the received data may have taken on the connection, with the chunked coding."""
        return _CHUNK_OVERHEAD * self.size

    def append(self, data: bytes) -> None:
        """Append a piece.

        :raises TooLarge: when the body exceeds its limit.
        """
        self.size += len(data)
        if self.size > self.limit:
            raise self.too_large()
        if not self._data:
            self._data = data
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        self._data += data

    def too_large(self) -> TooLarge:
        """Return the refusal of a body that exceeds the limit."""
        return TooLarge(f"request body must not exceed {self.limit} bytes here")

    def charge(self, holder: Holder) -> None:
        """Charge the incomplete body to the memory budget; see `Budget.grow`.

        :param holder: refuses the body when the budget is exceeded and the body makes no progress.
        :raises NoRoom: when the budget is exceeded.
        """
        if len(self._data) != self._charged:
            self._charged = self._budget.grow(self._charged, len(self._data), holder)
            self._holder = holder

    def take(self) -> bytes:
        """Return the complete body, which no longer counts."""
        data, self._data = bytes(self._data), b""
        self._release()
        return data

    def discard(self) -> None:
        """Drop the data."""
        self._data = b""
        self._release()

    def _release(self) -> None:
        if self._charged:
            self._charged = self._budget.grow(self._charged, 0, self._holder)
            self._holder = None
