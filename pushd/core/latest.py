"""The newest kept message of each channel up to a sequence: what `since=latest` begins with.

Messages are read in id order, whatever is published meanwhile: which message of a channel is its newest one up to a
sequence changes only when that message is removed.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from pushd.core.history import Channel
from pushd.core.log import Log
from pushd.core.message import Message
from pushd.core.steps import STEP, Steps

_BY_SEQ = attrgetter("seq")


class ReadLimits(NamedTuple):
    """The limits of one page."""

    messages: int
    """The most messages."""
    size: int
    """Bytes of messages after which no further one is added."""
    effort: int
    """The most messages that are examined."""


def before_newest(channels: Sequence[Channel], covers: Callable[[str], bool], upto: int) -> Steps[int]:
    """Return the sequence before the oldest of the messages that are the newest up to `upto` of covered channels.

    :return: `upto` if there are none.
    """
    seq = upto
    for start in range(0, len(channels), STEP):
        if start:
            yield
        for channel in islice(channels, start, start + STEP):
            newest = channel.newest_upto(upto)
            if newest is not None and newest.seq <= seq and covers(channel.name):
                seq = newest.seq - 1
    return seq


def newest_of(channels: Iterable[Channel], after: int, upto: int, limits: ReadLimits) -> tuple[list[Message], int]:
    """Return the newest messages up to `upto` of channels that are newer than `after`.

    :return: the messages in id order, and the sequence up to which they are complete.
    """
    found = [message for channel in channels if (message := channel.newest_upto(upto)) and message.seq > after]
    found.sort(key=_BY_SEQ)
    size = 0
    for number, message in enumerate(found):
        if number >= limits.messages or size >= limits.size:
            return found[:number], found[number - 1].seq if number else after
        size += message.size
    return found, upto


def scan_newest(
    log: Log, covers: Callable[[str], bool], after: int, upto: int, limits: ReadLimits
) -> Steps[tuple[list[Message], int]]:
    """Return the same as `newest_of` for all channels that are covered, by a scan over the log."""
    messages: list[Message] = []
    size, seq = 0, after
    known = log.channels.get
    for _ in range(0, limits.effort, STEP):
        examined = 0
        for message in islice(log.timeline.after(seq), STEP):
            if message.seq > upto:
                return messages, upto
            if len(messages) >= limits.messages or size >= limits.size:
                return messages, seq
            seq = message.seq
            examined += 1
            channel = known(message.channel)
            if channel is not None and channel.newest_upto(upto) is message and covers(message.channel):
                messages.append(message)
                size += message.size
        if examined < STEP:
            return messages, upto
        yield
    return messages, seq
