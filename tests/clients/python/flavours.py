"""The three clients behind one interface of Deferreds, so that each test is written once.

The blocking client runs in threads, that of asyncio in an event loop of its own thread, that of Twisted in the reactor.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from pushd_client import AsyncPushd, Backoff, Pushd, TwistedPushd
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread

SOON = Backoff(0.01, 0.05)
"""Reconnects at once, for tests."""
SECONDS = 20.0


class End(Exception):
    """The subscription has ended."""


class Subscribed:
    """A subscription of any client."""

    def __init__(self, flavour: "Flavour", subscription: Any) -> None:
        self._flavour = flavour
        self.subscription = subscription

    def open(self) -> "Deferred[Any]":
        """Connect."""
        return self._flavour.run(self.subscription, "__enter__", "__aenter__")

    def next(self) -> "Deferred[Any]":
        """Return the next item. Raises `End` at the end."""
        return self._flavour.run(self.subscription, "__next__", "__anext__")

    def close(self) -> "Deferred[Any]":
        """Close it."""
        return self._flavour.run(self.subscription, "close", "close")

    async def take(self, count: int) -> list[Any]:
        """Return the next items."""
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Any]:
        """Return all items up to the end."""
        items = []
        while True:
            try:
                items.append(await self.next())
            except End:
                return items


class Flavour:
    """One of the clients."""

    name: ClassVar[str]

    def __init__(self, url: str, **options: Any) -> None:
        self.pushd: Any = self.make(url, {"backoff": SOON, **options})

    def make(self, url: str, options: dict[str, Any]) -> Any:
        """Return the client."""
        raise NotImplementedError

    def run(self, target: Any, name: str, async_name: str, *args: Any, **keywords: Any) -> "Deferred[Any]":
        """Call a method; return a Deferred for its result."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., "Deferred[Any]"]:
        """Return a method of the client."""
        return lambda *args, **keywords: self.run(self.pushd, name, name, *args, **keywords).addTimeout(
            SECONDS, _reactor()
        )

    def subscribe(self, topics: str, **keywords: Any) -> Subscribed:
        """Subscribe."""
        return Subscribed(self, self.pushd.subscribe(topics, **keywords))

    is_closed = False

    async def close(self) -> None:
        """Close the client, once."""
        if not self.is_closed:
            self.is_closed = True
            await self.run(self.pushd, "close", "close")


class Sync(Flavour):
    """`Pushd`."""

    name = "sync"

    def make(self, url: str, options: dict[str, Any]) -> Any:
        """See `Flavour`."""
        return Pushd(url, **options)

    def run(self, target: Any, name: str, async_name: str, *args: Any, **keywords: Any) -> "Deferred[Any]":
        """See `Flavour`."""

        def call() -> Any:
            try:
                return getattr(target, name)(*args, **keywords)
            except StopIteration:
                raise End from None

        return deferToThread(call)


async def _others_done() -> None:
    """Wait until all other tasks of the loop are done: whoever waits for their results must receive them."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=SECONDS)


class Asyncio(Flavour):
    """`AsyncPushd`."""

    name = "asyncio"

    def make(self, url: str, options: dict[str, Any]) -> Any:
        """See `Flavour`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def make() -> AsyncPushd:
            return AsyncPushd(url, **options)

        return asyncio.run_coroutine_threadsafe(make(), self._loop).result()

    def run(self, target: Any, name: str, async_name: str, *args: Any, **keywords: Any) -> "Deferred[Any]":
        """See `Flavour`."""
        task = asyncio.run_coroutine_threadsafe(_no_stop(getattr(target, async_name), *args, **keywords), self._loop)

        def cancel(_: object) -> None:
            task.cancel()

        done: Deferred[Any] = Deferred(cancel)

        def fire() -> None:
            if done.called or task.cancelled():
                return
            error = task.exception()
            done.callback(task.result()) if error is None else done.errback(error)

        task.add_done_callback(lambda _: _reactor().callFromThread(fire))
        return done

    async def close(self) -> None:
        """See `Flavour`."""
        if not self.is_closed:
            await super().close()
            await deferToThread(asyncio.run_coroutine_threadsafe(_others_done(), self._loop).result, 2 * SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            await deferToThread(self._thread.join, SECONDS)
            self._loop.close()


class Twisted(Flavour):
    """`TwistedPushd`."""

    name = "twisted"

    def make(self, url: str, options: dict[str, Any]) -> Any:
        """See `Flavour`."""
        return TwistedPushd(url, **options)

    def run(self, target: Any, name: str, async_name: str, *args: Any, **keywords: Any) -> "Deferred[Any]":
        """See `Flavour`."""
        return ensureDeferred(_no_stop(getattr(target, async_name), *args, **keywords))


FLAVOURS: tuple[type[Flavour], ...] = (Sync, Asyncio, Twisted)


async def _no_stop(method: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **keywords: Any) -> Any:
    try:
        return await method(*args, **keywords)
    except StopAsyncIteration:
        raise End from None


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor
