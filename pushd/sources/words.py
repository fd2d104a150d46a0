"""A finite stream: a text, word by word, whose last word ends the channel."""

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pushd.core.message import TEXT
from pushd.sources.publisher import SourceMessage, SourcePublisher
from pushd.sources.supervision import Interval


class WordsRunner:
    """Publishes one word after the other. A word that is refused is said again, so that none is missing.

    :param text: one word at least.
    :param interval: seconds from word to word.
    :param pause: seconds from the end to a new beginning; None for no other beginning.
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
        """Say the text, again and again where that is wanted."""
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
