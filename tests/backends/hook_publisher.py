"""A process that publishes to a SQLite history with a hook, and prints what was accepted, until it is killed."""

import sys
import time
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from pushd.backends.hook_outbox import HookBounds
from pushd.backends.interface import BackendEvents
from pushd.backends.sqlite.backend import SqliteBackend
from pushd.core.channel_rules import DEAD_RULE, ChannelRules
from pushd.core.history import Bounds
from pushd.core.message import Message, draft
from tests.backends.contract_hooks import FULL, HooksByPattern

BACKLOG = 300


async def publish(reactor: Any) -> None:
    """Publish forever."""
    backend = SqliteBackend(sys.argv[1], Bounds(), reactor, time.time, "normal", ChannelRules((DEAD_RULE,)))
    backend.hooks.reconfigure({"full": HookBounds(BACKLOG)}, HooksByPattern({"p": [FULL]}), lambda hook: None)
    await backend.start(BackendEvents(lambda message: None, lambda channel: None, lambda reason: None))
    number = 0
    while True:
        drafts = [draft("p", str(number + each).encode()) for each in range(10)]
        number += 10
        results = await gatherResults([Deferred.fromCoroutine(backend.publish([each])) for each in drafts])
        accepted = [message.id for (message,) in results if isinstance(message, Message)]
        assert len(accepted) == len(drafts)
        print(*accepted, flush=True)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(publish(reactor)))
