"""A subscription that survives reconnects, over any transport."""

import random
import time
from collections.abc import Callable, Iterator

from pushd.ctl.clients import CONNECTION_ERRORS, STREAM_ENDED, Item, Target
from pushd.ctl.errors import CredentialRefused, Unreachable

_FIRST_DELAY_SECONDS, _MAX_DELAY_SECONDS = 1.0, 30.0
"""Bounds of the reconnect delay, which is random up to the bound; the bound doubles after each failed attempt."""


def subscribe_with_reconnect(
    subscribe: Callable[[Target, str | None], Iterator[Item]],
    target: Target,
    since: str | None,
    warn: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Item]:
    """Yield messages and control objects; after a connection failure resume, until all channels end.

    It resumes from the id of the last message, or from the start cursor before there was one. When the token is
    refused or has expired, it reconnects only if the token file has a new one.

    :param subscribe: a client of `pushd.ctl.clients`, given the target and a cursor.
    :param since: cursor to start from; None for live messages only.
    :param warn: called with a sentence after each disconnect.
    :raises RequestRefused: when the daemon refuses the subscription.
    :raises Unreachable: when the first connection cannot be opened.
    """
    max_delay, is_first, open_channels = _FIRST_DELAY_SECONDS, True, set(target.topics.split(","))
    while True:
        try:
            for item in subscribe(target, since):
                is_first, max_delay = False, _FIRST_DELAY_SECONDS
                if item is STREAM_ENDED:
                    return
                if item.get("type") == "begin":
                    since = item["cursor"]
                    continue
                if item.get("type") == "expired":
                    raise CredentialRefused(f"{item.get('code', 'token-expired')}: the token is not valid any more")
                yield item
                since = item.get("id", since)
                if item.get("type") == "end":
                    open_channels.discard(item["channel"])
                    if not open_channels:
                        return
            warn("stream closed; reconnecting")
        except CredentialRefused as error:
            if not target.api.credential.is_renewed():
                raise
            warn(f"{error}; reconnecting with the new token of the file")
        except CONNECTION_ERRORS as error:
            if is_first and isinstance(error, Unreachable):
                raise
            warn(f"connection lost ({error}); reconnecting")
        is_first = False
        sleep(random.uniform(0, max_delay))
        max_delay = min(2 * max_delay, _MAX_DELAY_SECONDS)
