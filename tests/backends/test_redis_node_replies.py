"""Tests of the waiting for replies of other nodes."""

from collections.abc import Awaitable

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from pushd.backends.redis.node_replies import NodeReplies


def waiting(replies: NodeReplies, publishing: Awaitable[int], clock: Clock) -> "list[int]":
    """Start to wait for at most a second; return a list that gets the result."""
    results: list[int] = []
    Deferred.fromCoroutine(replies.wait(publishing, 1.0, clock)).addCallback(results.append)
    return results


def test_wait_ends_with_the_last_reply() -> None:
    clock, replies = Clock(), NodeReplies()
    results = waiting(replies, succeed(3), clock)
    replies.count_reply()
    assert not results
    replies.count_reply()
    assert results == [0]
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("receivers", [0, 1], ids=["nobody", "only this node"])
def test_without_other_nodes_nothing_is_waited_for(receivers: int) -> None:
    assert waiting(NodeReplies(), succeed(receivers), Clock()) == [0]


def test_missing_replies_are_counted_after_the_timeout() -> None:
    clock, replies = Clock(), NodeReplies()
    results = waiting(replies, succeed(4), clock)
    replies.count_reply()
    clock.advance(1.0)
    assert results == [2]
    replies.count_reply()


def test_replies_may_arrive_before_redis_returns_their_number() -> None:
    publishing: Deferred[int] = Deferred()
    replies = NodeReplies()
    results = waiting(replies, publishing, Clock())
    replies.count_reply()
    assert not results
    publishing.callback(2)
    assert results == [0]
