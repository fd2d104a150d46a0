"""The order of an examination: all techniques listen at once to one channel, hear, wait through a silence, and hear."""

import secrets
import time
from collections.abc import Callable, Sequence
from threading import Condition
from typing import NamedTuple

from pushd.ctl.doctor.course import Published
from pushd.ctl.doctor.diagnosis import Fault, delay, judge, judge_body, judge_writing
from pushd.ctl.doctor.listening import TECHNIQUES, Listener, Technique
from pushd.ctl.doctor.publishing import BODY_BYTES, Publisher
from pushd.ctl.web import Web

EXAMINED = ("publish", "body", *(technique.name for technique in TECHNIQUES))
"""The names of all that is examined."""
_PATIENCE_SECONDS = 2.0
"""For what is to come at once."""
_LIVE = 4
"""Messages that come alone; the quickest counts, since each may meet a busy machine."""
_ALONE_SECONDS = 0.4
"""Between two of them: longer than the 200 ms that a packet may wait for an acknowledgement."""
_MARGIN_SECONDS = 60.0
"""Beyond the silence: for all that comes before and after it."""


class Finding(NamedTuple):
    """What became of a technique."""

    name: str
    faults: Sequence[Fault]
    note: str
    """Where nothing is wrong."""
    status: int | None
    seconds: float | None
    """How long a message takes at the least, or a request."""


class Examined(NamedTuple):
    """All that was found."""

    findings: Sequence[Finding]
    servers: frozenset[str]
    """What the answers say about who gave them and who handed them on."""
    has_listened: bool
    """Whether something could be published, so that there was something to hear."""
    left: str | None
    """The channel, where it could not be deleted."""


def examine(through: Web, direct: Web, only: Sequence[str], idle: float, progress: Callable[[str], None]) -> Examined:
    """Examine the way to pushd.

    :param direct: pushd itself: who publishes where the way does not let that pass.
    :param only: the names of what is judged.
    :param idle: seconds of silence.
    :param progress: hears what goes on.
    :raises NotReachable: nobody answers.
    """
    mark = secrets.token_hex(8)
    channel = f"doctor/{mark}"
    publisher = Publisher(through, direct, channel, idle + 2 * _MARGIN_SECONDS)
    techniques = [technique for technique in TECHNIQUES if technique.name in only]
    visit = _Visit(through, channel, mark, techniques, publisher, idle, progress)
    is_left = False
    try:
        findings = visit.findings()
    finally:
        visit.close()
        is_left = not publisher.forget()
    servers = frozenset(publisher.servers).union(*(listener.servers for listener in visit.listeners))
    judged = [each for each in findings if each.name in only]
    return Examined(judged, servers, publisher.is_open, channel if is_left else None)


class _Visit:
    def __init__(
        self,
        through: Web,
        channel: str,
        mark: str,
        techniques: Sequence[Technique],
        publisher: Publisher,
        idle: float,
        progress: Callable[[str], None],
    ) -> None:
        self._publisher, self._idle, self._progress = publisher, idle, progress
        self._before, *self._live, self._last = words = tuple(
            f"{word}-{mark}" for word in ("before", *(f"live{number}" for number in range(_LIVE)), "last")
        )
        self._news = Condition()
        self.listeners = [
            Listener(technique, through, channel, words, self._news, idle + _MARGIN_SECONDS) for technique in techniques
        ]

    def findings(self) -> list[Finding]:
        """Go through all of it."""
        self._progress("publishing")
        self._publisher.begin(self._before)
        findings = [self._of_publishing()]
        if not self._publisher.is_open:
            return findings
        body = self._publisher.say_much()
        if body is not None:
            note = f"a body of {BODY_BYTES >> 20} MiB passes"
            findings.append(Finding("body", judge_body(body, BODY_BYTES), note, body.status, body.seconds))
        published = self._play()
        return findings + [self._of_listening(listener, published) for listener in self.listeners]

    def close(self) -> None:
        """Leave."""
        for listener in self.listeners:
            listener.close()

    def _play(self) -> Published:
        self._progress("listening")
        for listener in self.listeners:
            listener.start()
        self._wait_for(self._before)
        live = {}
        for word in self._live:
            self._publisher.say(word)
            live[word] = time.monotonic()
            time.sleep(_ALONE_SECONDS)
        self._wait_for(word)
        self._be_silent()
        last = time.monotonic()
        self._publisher.say(self._last, is_last=True)
        self._wait_for(self._last)
        return Published(self._before, live, last, self._last, self._idle)

    def _wait_for(self, word: str) -> None:
        with self._news:
            self._news.wait_for(
                lambda: all(each.is_over or each.has_heard(word) for each in self.listeners), _PATIENCE_SECONDS
            )

    def _be_silent(self) -> None:
        start = time.monotonic()
        with self._news:
            while (passed := time.monotonic() - start) < self._idle:
                self._progress(f"silence: {passed:.0f} of {self._idle:.0f} s")
                if self._news.wait_for(self._are_over, min(1.0, self._idle - passed)):
                    return

    def _are_over(self) -> bool:
        return all(each.is_over for each in self.listeners)

    def _of_publishing(self) -> Finding:
        answers = self._publisher.answers
        note = f"a page may publish, answered in {answers[0].seconds * 1000:.0f} ms"
        return Finding("publish", judge_writing(answers), note, answers[0].status, answers[0].seconds)

    def _of_listening(self, listener: Listener, published: Published) -> Finding:
        course = listener.course
        least = delay(course, published)
        note = f"a message takes {(least or 0) * 1000:.0f} ms, open through {self._idle:.0f} s of silence"
        status = course.answer.status if course.answer else None
        return Finding(course.name, judge(course, published), note, status, least)
