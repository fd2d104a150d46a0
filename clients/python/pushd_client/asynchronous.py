"""The client for asyncio, by httpx."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .core import calls
from .core.address import Address, split_topics
from .core.backoff import Backoff
from .core.call import Call
from .core.client import ClientCore
from .core.subscriber import Subscriber
from .core.subscription_options import Since, subscription_options
from .errors import ClientClosed, PushdError, Refused
from .messages import Item, Message
from .network.asyncio_http import AsyncHttp
from .network.asyncio_subscription import AsyncSubscriptionNetwork
from .publications import Publication
from .results import Heartbeat, History, Members, Receipt, Reply

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .core.keywords import PublishKeywords, SubscribeKeywords

T = TypeVar("T")

AsyncToken = str | Callable[[], str | Awaitable[str]] | None
"""As `Token`; the function may be a coroutine function."""


class AsyncPushd:
    """A client of one daemon, for the coroutines of one event loop. See `Pushd` for all parameters.

    Any call may be cancelled. What it writes may be done nevertheless.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        token: AsyncToken = None,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 60.0,
        backoff: Backoff = Backoff(),  # noqa: B008 (it is immutable)
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        address = Address(url)
        self._http = AsyncHttp(address, ssl_context)
        lock = asyncio.Lock()
        self._core = ClientCore(address, self._http, token, _resolve, lock, timeout, retry_seconds, backoff)
        self._subscriptions: set[AsyncSubscription] = set()
        """Those that are not closed."""

    async def __aenter__(self) -> "AsyncPushd":
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close all connections: subscriptions end, and other calls raise `ClientClosed`."""
        self._http.is_closed = True
        await asyncio.gather(*(subscription.close() for subscription in list(self._subscriptions)))
        await self._http.close()

    async def publish(
        self, channel: str, data: object = "", *, key: str | None = None, **keywords: "Unpack[PublishKeywords]"
    ) -> Receipt:
        """Publish a message: see `Pushd.publish`."""
        return await self._perform(calls.publish(Publication(channel, data, **keywords), key))

    async def publish_to(
        self,
        channels: Iterable[str],
        data: object = "",
        *,
        key: str | None = None,
        **keywords: "Unpack[PublishKeywords]",
    ) -> list[Receipt | Refused]:
        """Publish a message to several channels: see `Pushd.publish_to`."""
        names = split_topics(channels)
        return await self._perform(calls.publish_to(names, Publication(names[0], data, **keywords), key))

    async def batch(self, messages: Iterable[Publication], *, key: str | None = None) -> list[Receipt | Refused]:
        """Publish many messages: see `Pushd.batch`."""
        return await self._core.caller.publish_batch(messages, key)

    async def delete(self, channel: str) -> None:
        """Delete a channel with its history."""
        await self._perform(calls.delete(channel))

    async def history(self, topics: str | Iterable[str], *, since: Since = None, limit: int | None = None) -> History:
        """Return stored messages of topics, oldest first; without `since` the newest."""
        return await self._perform(calls.history(topics, since, limit))

    async def cursor(self, topics: str | Iterable[str] = ()) -> str:
        """Return the cursor of the present: see `Pushd.cursor`."""
        return await self._perform(calls.cursor(topics))

    def subscribe(self, topics: str | Iterable[str], **keywords: "Unpack[SubscribeKeywords]") -> "AsyncSubscription":
        """Subscribe to topics: iterate over the result with ``async for``. See `Pushd.subscribe`."""
        options = subscription_options(topics, **keywords)
        network = AsyncSubscriptionNetwork(self._core.address, self._http, options.max_message_bytes)
        subscription = AsyncSubscription(self._core.subscriber(options, network), self._subscriptions.discard)
        self._subscriptions.add(subscription)
        return subscription

    async def request(
        self,
        channel: str,
        data: object = "",
        *,
        timeout: float = 10.0,
        content_type: str | None = None,
        event: str | None = None,
    ) -> Reply:
        """Publish a request and return the first reply: see `Pushd.request`."""
        return await self._perform(calls.request(Publication(channel, data, content_type, event), timeout))

    async def reply(self, request: Message, data: object = "", *, content_type: str | None = None) -> None:
        """Answer a request, once: see `Pushd.reply`."""
        await self._perform(calls.reply(request, data, content_type))

    async def respond(
        self,
        topics: str | Iterable[str],
        function: Callable[[Message], object | Awaitable[object]],
        **keywords: "Unpack[SubscribeKeywords]",
    ) -> None:
        """Answer each request with what a function or a coroutine function returns, one after the other."""
        async with self.subscribe(topics, **keywords) as subscription:
            async for item in subscription:
                if isinstance(item, Message) and item.reply_to is not None:
                    await self._answer(item, await _resolve(function(item)))

    async def presence(self, channel: str, *, limit: int | None = None, after: str | None = None) -> Members:
        """Return a page of the members of a channel."""
        return await self._perform(calls.presence(channel, limit, after))

    async def enter(self, channel: str, id: str, meta: object = None, *, ttl: float = 30.0) -> None:
        """Become a member by a lease, or renew it: see `Pushd.enter`."""
        await self._perform(calls.enter(channel, id, meta, ttl))

    async def leave(self, channel: str, id: str) -> None:
        """End a lease."""
        await self._perform(calls.leave(channel, id))

    async def heartbeat(self, id: str, *, timestamp: float | None = None) -> Heartbeat:
        """Send a heartbeat: see `Pushd.heartbeat`."""
        return await self._perform(calls.heartbeat(id, timestamp))

    async def last_heartbeat(self, id: str) -> Heartbeat:
        """Return the last heartbeat of an id."""
        return await self._perform(calls.last_heartbeat(id))

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        content_type: str | None = None,
    ) -> Any:
        """Send any other request of the API, and return the decoded JSON: see `Pushd.call`."""
        return await self._perform(calls.other(method, path, query, body, content_type))

    async def _perform(self, call: Call[T]) -> T:
        return await self._core.caller.perform(call)

    async def _answer(self, request: Message, data: object) -> None:
        try:
            await self.reply(request, data)
        except ClientClosed:
            return  # and the subscription ends
        except Refused as refused:
            if refused.code != "no-request":  # the asker has left, or another responder was faster
                raise


class AsyncSubscription:
    """An asynchronous iterator over the messages, gaps and ends of topics, which resumes after each loss.

    One coroutine iterates; another one may close it. As an asynchronous context manager it is connected when the block
    begins, and closed when it ends. Without one, leaving a loop early keeps the connection until the client is closed.

    An ``anext`` that is cancelled, as by `asyncio.wait_for`, loses nothing: the next one returns the item.
    """

    def __init__(self, subscriber: Subscriber, on_close: "Callable[[AsyncSubscription], None]") -> None:
        """For `AsyncPushd.subscribe`."""
        self._on_close = on_close
        self._subscriber = subscriber
        self._is_closed = False
        self._pending: asyncio.Task[Item | None] | None = None
        """Waits for the next item, and outlives a call that is cancelled."""

    @property
    def connection(self) -> str | None:
        """The id of the present connection, for `except_`; None while there is none."""
        return self._subscriber.connection_id

    @property
    def cursor(self) -> str | None:
        """The cursor from which to resume after the item that was returned last; None until connected."""
        return self._subscriber.cursor

    async def __aenter__(self) -> "AsyncSubscription":
        """Connect. Raises as `__anext__`."""
        try:
            await self._subscriber.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    def __aiter__(self) -> "AsyncSubscription":
        """Return itself."""
        return self

    async def __anext__(self) -> Item:
        """Wait for the next item. Raises as `Subscription.__next__`.

        :raises StopAsyncIteration: when all channels have ended, or after `close`.
        """
        if self._subscriber.has_items and not self._is_closed:
            item = await self._subscriber.next_item()
        else:
            item = await self._wait()
        if item is None:
            await self.close()
            raise StopAsyncIteration
        return item

    async def _wait(self) -> Item | None:
        """Wait for the next item; None at the end."""
        if self._is_closed:
            return None
        pending = self._pending = self._pending or asyncio.ensure_future(self._subscriber.next_item())
        try:
            return await asyncio.shield(pending)
        except (asyncio.CancelledError, PushdError):
            if self._is_closed and pending.done():
                return None
            raise
        finally:
            if pending.done():
                self._pending = None

    async def close(self) -> None:
        """Close the connection; iteration ends."""
        self._is_closed = True
        self._on_close(self)
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)
        await self._subscriber.close()


async def _resolve(token: object) -> object:
    return await token if isawaitable(token) else token
