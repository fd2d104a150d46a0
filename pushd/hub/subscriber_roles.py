"""The roles with which a subscriber subscribes: as a member of the channels, and as a responder."""

from collections.abc import Sequence

from pushd.core.cursor import Since
from pushd.core.errors import Refusal
from pushd.core.presence import AsMember
from pushd.core.replay import StartPosition
from pushd.core.subscriber import Subscriber, SubscriberClosed
from pushd.hub.hub import Hub


async def subscribe_with_roles(
    hub: Hub,
    subscriber: Subscriber,
    topics: Sequence[str],
    since: Since,
    member: AsMember | None = None,
    *,
    responder: bool = False,
) -> StartPosition:
    """Subscribe to topics with all roles, or not at all.

    :param member: as whom the subscriber enters the channels among the topics; None if it does not.
    :param responder: whether it counts as a responder for the topics, patterns too.
    :return: where its replay starts.
    :raises Refusal: when it cannot be subscribed, or one of the roles is refused.
    :raises SubscriberClosed: when it was closed meanwhile.
    """
    hub.presence.check(subscriber.peer, topics, member)
    if responder:
        hub.requests.check_responder(subscriber.peer, topics)
    opening = await hub.subscribe(subscriber, topics, since)
    try:
        await hub.presence.enter_topics(subscriber, topics, member)
    except Refusal:
        hub.unsubscribe(subscriber, topics)
        raise
    if subscriber.is_closed:
        raise SubscriberClosed(subscriber.closed_for)
    if responder:
        hub.requests.add_responder(subscriber)
    return opening
