"""Replies of the other nodes to one message of this node, for which it waits together.

A node that is down has no connection to Redis and is not waited for. One that is frozen, or whose dead connection Redis
has not noticed, is waited for until a timeout.
"""

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred


class NodeReplies:
    """The base class of what is asked of all other nodes. It counts the replies; a derived class collects them."""

    def __init__(self) -> None:
        self._replies = 0
        self._expected: int | None = None
        """The number of other nodes, once Redis has returned how many have received the message."""
        self._done: Deferred[None] = Deferred()

    def count_reply(self) -> None:
        """Count the reply of one more node."""
        self._replies += 1
        self._check_complete()

    async def wait(self, publishing: Awaitable[int], seconds: float, clock: Any) -> int:
        """Publish the message, and wait until all other nodes have replied, or for some seconds.

        :param publishing: returns how many nodes have received the message, with this one.
        :return: the number of nodes that have not replied.
        """
        expected = self._expected = max(await publishing - 1, 0)
        self._check_complete()
        await self._done.addTimeout(seconds, clock, lambda *_: None)
        return max(expected - self._replies, 0)

    def _check_complete(self) -> None:
        if self._expected is not None and self._replies >= self._expected and not self._done.called:
            self._done.callback(None)
