"""A finite stream: a text, word by word, whose last word ends the channel."""

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pushd.core.message import TEXT
from pushd.sources.publisher import Publisher, Saying
from pushd.sources.supervision import Beat


class Words:
    """Publishes one word after the other. A word that is refused is said again, so that none is missing.

    :param text: one word at least.
    :param interval: seconds from word to word.
    :param pause: seconds from the end to a new beginning; None for no other beginning.
    """

    def __init__(
        self, publisher: Publisher, clock: IReactorTime, text: str, interval: float, pause: float | None
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        *first, last = (Saying(word.encode(), TEXT) for word in text.split())
        self._sayings = [*first, Saying(last.data, TEXT, end=True)]
        self._interval = interval
        self._pause = pause

    async def run(self) -> None:
        """Say the text, again and again where that is wanted."""
        await self._say_all()
        while self._pause is not None:
            await deferLater(self._clock, self._pause)
            await self._say_all()

    async def _say_all(self) -> None:
        beat = Beat(self._clock, self._interval)
        for number, saying in enumerate(self._sayings):
            if number:
                await beat.next()
            while await self._publisher.publish([saying]) == [False]:
                await beat.next()
