"""Following topics: what is heard, by whatever way, across reconnects."""

import random
import time
from collections.abc import Callable, Iterator

from pushd.ctl.clients import BROKEN, ENDED, Heard, Place
from pushd.ctl.errors import NotReachable

_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 30.0
"""Before coming back: at random up to this, twice as long each time that nobody answers."""


def follow(
    way: Callable[[Place, str | None], Iterator[Heard]],
    place: Place,
    since: str | None,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Heard]:
    """Give what comes, and go on with the last id where a connection breaks, until all channels have ended.

    :param say: hears a sentence about each break.
    :raises Failure: the daemon refuses, or was not there in the first place.
    """
    longest, is_first, open_channels = _FIRST_SECONDS, True, set(place.topics.split(","))
    while True:
        try:
            for heard in way(place, since):
                is_first, longest = False, _FIRST_SECONDS
                if heard is ENDED:
                    return
                yield heard
                since = heard.get("id", since)
                if heard.get("type") == "end":
                    open_channels.discard(heard["channel"])
                    if not open_channels:
                        return
            say("the stream was closed; coming back")
        except BROKEN as error:
            if is_first and isinstance(error, NotReachable):
                raise
            say(f"the connection broke ({error}); coming back")
        is_first = False
        sleep(random.uniform(0, longest))
        longest = min(2 * longest, _LONGEST_SECONDS)
