"""The source `words`: a text, word by word; the last word ends the channel."""

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pushd.core.message import TEXT
from pushd.sources.publisher import SourceMessage, SourcePublisher
from pushd.sources.supervision import Interval


class WordsRunner:
    """Publishes one word after the other. A refused word is retried, so that none is missing.

    :param text: at least one word.
    :param interval: seconds between two words.
    :param pause: seconds from the end to the restart; None to stop at the end.
    """

    def __init__(
        self, publisher: SourcePublisher, clock: IReactorTime, text: str, interval: float, pause: float | None
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        *first, last = (SourceMessage(word.encode(), TEXT) for word in text.split())
        self._messages = [*first, SourceMessage(last.data, TEXT, end=True)]
        self._interval = interval
        self._pause = pause

    async def run(self) -> None:
        """Publish the text, repeatedly if `pause` is set."""
        await self._publish_all()
        while self._pause is not None:
            await deferLater(self._clock, self._pause)
            await self._publish_all()

    async def _publish_all(self) -> None:
        interval = Interval(self._clock, self._interval)
        for number, message in enumerate(self._messages):
            if number:
                await interval.wait()
            while await self._publisher.publish([message]) == [False]:
                await interval.wait()
