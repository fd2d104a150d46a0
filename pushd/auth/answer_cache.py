"""The answers of the application to callbacks, kept for as long as each says, within bounds."""

from collections import OrderedDict
from collections.abc import Set
from typing import Final

from pushd.auth.callback_question import Answer

MAX_ANSWERS: Final = 10_000
MAX_BYTES: Final = 16 << 20
"""The most bytes of the cached answers together; the memory of their grants grows with them."""
_ENTRY_BYTES: Final = 512
"""Bytes that are counted for an answer besides its text."""


class AnswerCache:
    """Answers by the digest of their question. The least recently used are removed when a bound is exceeded."""

    def __init__(self, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._answers: OrderedDict[bytes, tuple[float, Answer, str | None]] = OrderedDict()
        """With the time at which each ends, and the subject of its question; the least recently used first."""
        self.bytes = 0
        """The counted bytes of all answers."""

    def __len__(self) -> int:
        """Return the number of answers."""
        return len(self._answers)

    def get(self, digest: bytes, now: float) -> Answer | None:
        """Return the answer to a question; None if there is none that is still valid."""
        entry = self._answers.get(digest)
        if entry is None:
            return None
        until, answer, _ = entry
        if now >= until:
            self._remove(digest)
            return None
        self._answers.move_to_end(digest)
        return answer

    def put(self, digest: bytes, answer: Answer, now: float, subject: str | None = None) -> None:
        """Keep an answer.

        :param subject: the one of the question.
        """
        if digest in self._answers:
            self._remove(digest)
        if answer.ttl <= 0:
            return
        self._answers[digest] = now + answer.ttl, answer, subject
        self.bytes += answer.size + _ENTRY_BYTES
        while len(self._answers) > self._max_answers or self.bytes > self._max_bytes:
            self._remove(next(iter(self._answers)))

    def forget(self, subjects: Set[str]) -> None:
        """Remove the answers about some subjects."""
        for digest in [digest for digest, (_, _, subject) in self._answers.items() if subject in subjects]:
            self._remove(digest)

    def _remove(self, digest: bytes) -> None:
        _, answer, _ = self._answers.pop(digest)
        self.bytes -= answer.size + _ENTRY_BYTES
