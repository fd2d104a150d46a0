"""Gap reports: which gaps of one replay were reported, and which messages it has yet to read before it can tell."""

from collections.abc import Iterable

from pushd.core.message import Gap, Message
from pushd.core.names import is_pattern, matches
from pushd.core.replay import Page, StartPosition


class _Watch:
    """The kept messages beside a known loss, each of which the pages must contain: else it was lost meanwhile.

    An older message that is lost after the opening does not change the newest loss of its topic, which the gaps of
    pages are made of.
    """

    __slots__ = ("gap", "left", "upto")

    def __init__(self, gap: Gap, left: int, upto: int) -> None:
        self.gap = gap
        self.left = left
        """The number of messages that are still to be read."""
        self.upto = upto
        """The sequence of the newest of them, or a greater one."""

    def count(self, messages: Iterable[Message]) -> None:
        """Count the messages of a page."""
        topic, upto = self.gap.topic, self.upto
        if is_pattern(topic):
            self.left -= sum(each.seq <= upto and matches(topic, each.channel) for each in messages)
        else:
            self.left -= sum(each.channel == topic and each.seq <= upto for each in messages)


class GapReports:
    """The gaps of one replay."""

    __slots__ = ("_reported", "_watches")

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()
        """The gaps that were reported or were known at the start, by topic and end."""
        self._watches: list[_Watch] = []

    def opened(self, opening: StartPosition) -> list[Gap]:
        """Return the gaps that are reported at the start, and record those that are only known."""
        gaps = self._unreported(opening.gaps)
        for gap, kept in zip(opening.known_gaps, opening.kept, strict=False):
            if kept.number and (gap.topic, gap.end) not in self._reported:
                self._watches.append(_Watch(gap, kept.number, kept.upto))
        self._reported.update((gap.topic, gap.end) for gap in opening.known_gaps)
        return gaps

    def of_page(self, page: Page) -> list[Gap]:
        """Return the gaps to report with a page."""
        gaps = self._unreported(page.gaps)
        if self._watches:
            topics = {gap.topic for gap in gaps}
            epoch, seq = page.position
            watches = [watch for watch in self._watches if watch.gap.topic not in topics]  # else covered by the new gap
            for watch in watches:
                watch.count(page.messages)
            self._watches = [watch for watch in watches if seq < watch.upto and not page.is_last]
            gaps += [
                watch.gap
                for watch in watches
                if watch not in self._watches and watch.left > 0 and watch.gap.end.startswith(f"{epoch}-")
            ]
        return gaps

    def _unreported(self, gaps: Iterable[Gap]) -> list[Gap]:
        unreported = [gap for gap in gaps if (gap.topic, gap.end) not in self._reported]
        self._reported.update((gap.topic, gap.end) for gap in unreported)
        return unreported
