"""Audiences: who hears a channel, at all nodes together. Every node is asked and answers for itself, over pub/sub.

A node that is gone has no connection and is not waited for; so nothing is kept that would have to expire.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred

from pushd.backends.interface import Audience
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.key_names import ALL, of_node

_TIMEOUT_SECONDS: Final = 0.5
"""How long a node that is frozen, or whose connection Redis does not know to be dead, is waited for."""

_decode = msgspec.json.Decoder(tuple[bool, dict[str, int]]).decode


class _AudienceQuery:
    """What was asked of all nodes, and what they have said."""

    def __init__(self, own: Audience) -> None:
        self.named = own.named
        self.transports = Counter(own.transports)
        self.answers = 0
        self.wanted: int | None = None
        self.done: Deferred[None] = Deferred()

    def add_reply(self, named: bool, transports: dict[str, int]) -> None:
        """Take an answer."""
        self.answers += 1
        self.named = self.named or named
        self.transports.update(transports)
        self.check_complete()

    def check_complete(self) -> None:
        """See whether all have answered."""
        if self.wanted is not None and self.answers >= self.wanted and not self.done.called:
            self.done.callback(None)


class AudienceQueries:
    """Asks the other nodes, and answers them.

    :param own: tells who hears a channel here.
    """

    def __init__(self, commands: CommandRunner, node: str, own: Callable[[str], Audience], clock: Any) -> None:
        self._commands = commands
        self._node = node
        self._own = own
        self._clock = clock
        self._number = 0
        self._questions: dict[int, _AudienceQuery] = {}

    async def of(self, channel: str) -> Audience:
        """Tell who hears a channel, at all nodes together.

        :raises Unavailable: Redis is away.
        """
        self._number += 1
        number, question = self._number, _AudienceQuery(self._own(channel))
        self._questions[number] = question
        try:
            words = f"ask {self._node} {number}\n{channel}"
            question.wanted = await self._commands.publish(ALL, words.encode()) - 1
            question.check_complete()
            await question.done.addTimeout(_TIMEOUT_SECONDS, self._clock, lambda *_: None)
        finally:
            del self._questions[number]
        return Audience(question.named, dict(question.transports))

    def handle_message(self, raw: bytes) -> bool:
        """Take what came, if it is a question or an answer; tell whether it is."""
        if raw.startswith(b"ask "):
            head, _, channel = raw.partition(b"\n")
            _, node, number = head.decode().split(" ")
            if node != self._node:
                own = self._own(channel.decode())
                answer = b"told %b\n%b" % (number.encode(), msgspec.json.encode((own.named, dict(own.transports))))
                telling = Deferred.fromCoroutine(self._commands.publish(of_node(node), answer))
                telling.addErrback(lambda _: None)  # who asked does not wait for long
            return True
        if raw.startswith(b"told "):
            head, _, answer = raw.partition(b"\n")
            question = self._questions.get(int(head[5:]))
            if question is not None:
                question.add_reply(*_decode(answer))
            return True
        return False
