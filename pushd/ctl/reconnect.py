"""Following topics: what is heard, by whatever way, across reconnects."""

import random
import time
from collections.abc import Callable, Iterator

from pushd.ctl.clients import CONNECTION_ERRORS, STREAM_ENDED, Item, Target
from pushd.ctl.errors import Unreachable

_FIRST_DELAY_SECONDS, _MAX_DELAY_SECONDS = 1.0, 30.0
"""Before coming back: at random up to this, twice as long each time that nobody answers."""


def subscribe_with_reconnect(
    subscribe: Callable[[Target, str | None], Iterator[Item]],
    target: Target,
    since: str | None,
    warn: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Item]:
    """Give what comes, and go on with the last id where a connection breaks, until all channels have ended.

    :param say: hears a sentence about each break.
    :raises Failure: the daemon refuses, or was not there in the first place.
    """
    max_delay, is_first, open_channels = _FIRST_DELAY_SECONDS, True, set(target.topics.split(","))
    while True:
        try:
            for item in subscribe(target, since):
                is_first, max_delay = False, _FIRST_DELAY_SECONDS
                if item is STREAM_ENDED:
                    return
                yield item
                since = item.get("id", since)
                if item.get("type") == "end":
                    open_channels.discard(item["channel"])
                    if not open_channels:
                        return
            warn("the stream was closed; coming back")
        except CONNECTION_ERRORS as error:
            if is_first and isinstance(error, Unreachable):
                raise
            warn(f"the connection broke ({error}); coming back")
        is_first = False
        sleep(random.uniform(0, max_delay))
        max_delay = min(2 * max_delay, _MAX_DELAY_SECONDS)
