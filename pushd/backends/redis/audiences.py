"""Audiences: the subscribers of a channel at all nodes. Each node is asked over pub/sub, and replies for itself.

Nothing is stored that would have to expire.
"""

from collections import Counter
from collections.abc import Callable
from secrets import randbits
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred

from pushd.backends.interface import Audience
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.key_names import ALL, of_node
from pushd.backends.redis.node_replies import NodeReplies

_TIMEOUT_SECONDS: Final = 0.5
"""How long the replies are waited for."""

_decode = msgspec.json.Decoder(tuple[bool, dict[str, int]]).decode


class _AudienceQuery(NodeReplies):
    """A query to all nodes, with the sum of the replies so far."""

    def __init__(self, own: Audience) -> None:
        super().__init__()
        self.named = own.named
        self.transports = Counter(own.transports)

    def add_reply(self, named: bool, transports: dict[str, int]) -> None:
        """Add the reply of a node."""
        self.named = self.named or named
        self.transports.update(transports)
        self.count_reply()


class AudienceQueries:
    """Queries the other nodes, and replies to their queries.

    :param own: returns the audience of a channel at this node.
    """

    def __init__(self, commands: CommandRunner, node: str, own: Callable[[str], Audience], clock: Any) -> None:
        self._commands = commands
        self._node = node
        self._own = own
        self._clock = clock
        self._queries: dict[int, _AudienceQuery] = {}

    async def of(self, channel: str) -> Audience:
        """Return the audience of a channel at all nodes.

        :raises Unavailable: when Redis is unavailable.
        """
        number, query = randbits(62), _AudienceQuery(self._own(channel))
        self._queries[number] = query
        try:
            words = f"ask {self._node} {number}\n{channel}"
            await query.wait(self._commands.publish(ALL, words.encode()), _TIMEOUT_SECONDS, self._clock)
        finally:
            del self._queries[number]
        return Audience(query.named, dict(query.transports))

    def handle_message(self, raw: bytes) -> bool:
        """Handle a query or a reply; return whether it was one.

        :raises ValueError: when it is malformed.
        """
        if raw.startswith(b"ask "):
            head, _, channel = raw.partition(b"\n")
            _, node, number = head.decode().split(" ")
            if node != self._node:
                own = self._own(channel.decode())
                answer = b"told %b\n%b" % (number.encode(), msgspec.json.encode((own.named, dict(own.transports))))
                replying = Deferred.fromCoroutine(self._commands.publish(of_node(node), answer))
                replying.addErrback(lambda _: None)  # the other node does not wait for long
            return True
        if raw.startswith(b"told "):
            head, _, answer = raw.partition(b"\n")
            query = self._queries.get(int(head[5:]))
            if query is not None:
                query.add_reply(*_decode(answer))
            return True
        return False
