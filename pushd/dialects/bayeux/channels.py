"""Channels of Bayeux, and the topics of pushd that they are: ``/a/b`` is ``a/b``."""

import re
from typing import Final

from pushd.core.errors import BadChannel, BadTopic, Forbidden
from pushd.core.names import check_publishable, check_topic

META: Final = "/meta/"
SERVICE: Final = "/service/"
GAP: Final = "/pushd/gap"
"""On which a session is told that messages are missing."""
_OWN = re.compile(r"(?:meta|service)(?:/.*)?|pushd/gap")
"""The channels of pushd whose names mean something else in Bayeux."""


def is_own(channel: str) -> bool:
    """Return whether messages of a channel of pushd are not delivered, since its name means something else."""
    return channel[0] in "mps" and _OWN.fullmatch(channel) is not None


def topic_of(channel: str) -> str:
    """Return the topic of a subscription.

    :raises BadTopic: when it is not valid: in Bayeux only the last segment is a wildcard.
    :raises Forbidden: when nobody may subscribe to it.
    """
    topic = check_topic(_path(channel))
    if "*" in topic.rpartition("/")[0]:
        raise BadTopic("a wildcard must be the last segment")
    if is_own(topic):
        raise Forbidden(f"{channel} is reserved")
    return topic


def channel_of(channel: str) -> str:
    """Return the channel to which a client publishes.

    :raises BadChannel: when it is not valid.
    :raises Forbidden: when it is reserved.
    """
    if channel == GAP:
        raise Forbidden(f"{channel} is reserved")
    try:
        return check_publishable(_path(channel))
    except BadTopic as error:
        raise BadChannel(str(error)) from None


def _path(channel: str) -> str:
    if channel[:1] != "/":
        raise BadTopic("channel must begin with /")
    return channel[1:]
