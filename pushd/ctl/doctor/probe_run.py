"""The order of an examination: all techniques listen at once to one channel, hear, wait through a silence, and hear."""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Condition
from typing import NamedTuple

from pushd.ctl.api_client import Web
from pushd.ctl.doctor.diagnosis import Fault, delay, judge, judge_addresses, judge_body, judge_writing
from pushd.ctl.doctor.observation import Answer, Published
from pushd.ctl.doctor.probe_publisher import BODY_BYTES, Publisher
from pushd.ctl.doctor.probe_subscriber import TECHNIQUES, Listener

EXAMINED = ("publish", "body", "address", *(technique.name for technique in TECHNIQUES))
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
    visit = _Visit(through, direct, only, idle, progress)
    is_left = False
    try:
        findings = visit.findings()
    finally:
        is_left = not visit.leave()
    judged = [each for each in findings if each.name in only]
    return Examined(judged, visit.servers, visit.has_listened, visit.channel if is_left else None)


class _Visit:
    def __init__(
        self, through: Web, direct: Web, only: Sequence[str], idle: float, progress: Callable[[str], None]
    ) -> None:
        mark = secrets.token_hex(8)
        self._before, *self._live, self._last = words = tuple(
            f"{word}-{mark}" for word in ("before", *(f"live{number}" for number in range(_LIVE)), "last")
        )
        self.channel = f"doctor/{mark}"
        listening = [technique for technique in TECHNIQUES if technique.name in only]
        self._only, self._idle, self._progress = only, idle if listening else 0.0, progress
        self._addresses: set[str] = set()
        self._publisher = Publisher(through, direct, self.channel, idle + 2 * _MARGIN_SECONDS)
        self._news = Condition()
        self._listeners = [
            Listener(technique, through, self.channel, words, self._news, idle + _MARGIN_SECONDS)
            for technique in listening or TECHNIQUES[:1]
        ]

    @property
    def servers(self) -> frozenset[str]:
        """What the answers say about who gave them."""
        return frozenset(self._publisher.servers).union(*(listener.servers for listener in self._listeners))

    @property
    def has_listened(self) -> bool:
        """Tell whether there was something to hear."""
        return self._publisher.is_open

    def leave(self) -> bool:
        """Leave, and delete the channel; tell whether it is gone."""
        for listener in self._listeners:
            listener.close()
        return self._publisher.forget()

    def findings(self) -> list[Finding]:
        """Go through all of it."""
        self._progress("publishing")
        self._publisher.begin(self._before)
        if not self._publisher.is_open:
            return [self._of_publishing()]
        large = self._publisher.say_much() if "body" in self._only else None
        published = self._play()
        heard = [self._of_listening(listener, published) for listener in self._listeners]
        return [self._of_publishing(), *_of_body(large), *self._of_addresses(), *heard]

    def _play(self) -> Published:
        self._progress("listening")
        for listener in self._listeners:
            listener.start()
        self._wait_for(self._before, _PATIENCE_SECONDS / 2)
        # Before a proxy cuts those who have heard nothing.
        self._addresses = self._publisher.addresses()
        self._wait_for(self._before, _PATIENCE_SECONDS / 2)
        live = {}
        for word in self._live:
            if self._publisher.say(word):
                live[word] = time.monotonic()
                time.sleep(_ALONE_SECONDS)
        if live:
            self._wait_for(list(live)[-1])
        self._be_silent()
        last = time.monotonic()
        has_last = self._publisher.say(self._last, is_last=True)
        self._wait_for(self._last)
        return Published(self._before, live, last, self._last if has_last else None, self._idle)

    def _wait_for(self, word: str, seconds: float = _PATIENCE_SECONDS) -> None:
        with self._news:
            self._news.wait_for(lambda: all(each.is_over or each.has_heard(word) for each in self._listeners), seconds)

    def _be_silent(self) -> None:
        start = time.monotonic()
        with self._news:
            while (passed := time.monotonic() - start) < self._idle:
                self._progress(f"silence: {passed:.0f} of {self._idle:.0f} s")
                if self._news.wait_for(self._are_over, min(1.0, self._idle - passed)):
                    return

    def _are_over(self) -> bool:
        return all(each.is_over for each in self._listeners)

    def _of_publishing(self) -> Finding:
        answers = self._publisher.answers
        faults = judge_writing(answers, self._publisher.later_refusal)
        note = f"a page may publish, answered in {answers[0].seconds * 1000:.0f} ms"
        return Finding("publish", faults, note, answers[0].status, answers[0].seconds)

    def _of_addresses(self) -> Iterator[Finding]:
        own = {listener.own_address for listener in self._listeners if listener.own_address}
        if self._addresses and own:
            note = f"pushd knows this end as {', '.join(sorted(self._addresses))}"
            yield Finding("address", judge_addresses(self._addresses, own), note, None, None)

    def _of_listening(self, listener: Listener, published: Published) -> Finding:
        course = listener.course
        least = delay(course, published)
        note = f"a message takes {(least or 0) * 1000:.0f} ms, open through {self._idle:.0f} s of silence"
        status = course.answer.status if course.answer else None
        return Finding(course.name, judge(course, published), note, status, least)


def _of_body(answer: Answer | None) -> Iterator[Finding]:
    if answer is not None:
        note = f"a body of {BODY_BYTES >> 20} MiB passes"
        yield Finding("body", judge_body(answer, BODY_BYTES), note, answer.status, answer.seconds)
