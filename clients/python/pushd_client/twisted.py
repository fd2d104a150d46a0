"""The client for Twisted, by its Agent and Autobahn."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
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
from .network.optional import missing
from .publications import Publication
from .results import Heartbeat, History, Members, Receipt, Reply

try:
    from twisted.internet.defer import CancelledError, Deferred, DeferredLock
    from twisted.web.iweb import IPolicyForHTTPS

    from .network.twisted_http import TwistedHttp
    from .network.twisted_subscription import TwistedSubscriptionNetwork
except ImportError as error:
    raise missing("Twisted", "twisted", "TwistedPushd") from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .core.keywords import PublishKeywords, SubscribeKeywords

T = TypeVar("T")

TwistedToken = str | Callable[[], "str | Deferred[str]"] | None
"""As `Token`; the function may return a Deferred, or be a coroutine function."""


class TwistedPushd:
    """A client of one daemon, for the thread of one reactor. See `Pushd` for all other parameters.

    Methods return a Deferred. It may be cancelled; what it writes may be done nevertheless.

    :param reactor: None: the global one.
    :param policy: for ``https``; None: certificates as browsers accept them.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        token: TwistedToken = None,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 60.0,
        backoff: Backoff = Backoff(),  # noqa: B008 (it is immutable)
        reactor: Any = None,
        policy: IPolicyForHTTPS | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor

        address = Address(url)
        self._http = TwistedHttp(reactor, address, policy)
        self._core = ClientCore(
            address, self._http, token, _resolve, _Lock(), timeout, retry_seconds, backoff, reactor.seconds
        )
        self._subscriptions: set[TwistedSubscription] = set()
        """Those that are not closed."""

    async def __aenter__(self) -> "TwistedPushd":
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    def close(self) -> "Deferred[None]":
        """Close all connections: subscriptions end, and other calls raise `ClientClosed`."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._http.is_closed = True
        for subscription in list(self._subscriptions):
            await subscription.close()
        await self._http.close()

    def publish(
        self, channel: str, data: object = "", *, key: str | None = None, **keywords: "Unpack[PublishKeywords]"
    ) -> "Deferred[Receipt]":
        """Publish a message: see `Pushd.publish`."""
        return self._perform(calls.publish(Publication(channel, data, **keywords), key))

    def publish_to(
        self,
        channels: Iterable[str],
        data: object = "",
        *,
        key: str | None = None,
        **keywords: "Unpack[PublishKeywords]",
    ) -> "Deferred[list[Receipt | Refused]]":
        """Publish a message to several channels: see `Pushd.publish_to`."""
        names = split_topics(channels)
        return self._perform(calls.publish_to(names, Publication(names[0], data, **keywords), key))

    def batch(self, messages: Iterable[Publication], *, key: str | None = None) -> "Deferred[list[Receipt | Refused]]":
        """Publish many messages: see `Pushd.batch`."""
        return Deferred.fromCoroutine(self._core.caller.publish_batch(messages, key))

    def delete(self, channel: str) -> "Deferred[None]":
        """Delete a channel with its history."""
        return self._perform(calls.delete(channel))

    def history(
        self, topics: str | Iterable[str], *, since: Since = None, limit: int | None = None
    ) -> "Deferred[History]":
        """Return stored messages of topics, oldest first; without `since` the newest."""
        return self._perform(calls.history(topics, since, limit))

    def cursor(self, topics: str | Iterable[str] = ()) -> "Deferred[str]":
        """Return the cursor of the present: see `Pushd.cursor`."""
        return self._perform(calls.cursor(topics))

    def subscribe(self, topics: str | Iterable[str], **keywords: "Unpack[SubscribeKeywords]") -> "TwistedSubscription":
        """Subscribe to topics: iterate over the result with ``async for``. See `Pushd.subscribe`."""
        options = subscription_options(topics, **keywords)
        network = TwistedSubscriptionNetwork(self._core.address, self._http, options.max_message_bytes)
        subscription = TwistedSubscription(self._core.subscriber(options, network), self._subscriptions.discard)
        self._subscriptions.add(subscription)
        return subscription

    def request(
        self,
        channel: str,
        data: object = "",
        *,
        timeout: float = 10.0,
        content_type: str | None = None,
        event: str | None = None,
    ) -> "Deferred[Reply]":
        """Publish a request and return the first reply: see `Pushd.request`."""
        return self._perform(calls.request(Publication(channel, data, content_type, event), timeout))

    def reply(self, request: Message, data: object = "", *, content_type: str | None = None) -> "Deferred[None]":
        """Answer a request, once: see `Pushd.reply`."""
        return self._perform(calls.reply(request, data, content_type))

    def respond(
        self,
        topics: str | Iterable[str],
        function: Callable[[Message], object],
        **keywords: "Unpack[SubscribeKeywords]",
    ) -> "Deferred[None]":
        """Answer each request with what a function returns, one after the other; it may return a Deferred."""
        return Deferred.fromCoroutine(self._respond(topics, function, **keywords))

    async def _respond(
        self,
        topics: str | Iterable[str],
        function: Callable[[Message], object],
        **keywords: "Unpack[SubscribeKeywords]",
    ) -> None:
        async with self.subscribe(topics, **keywords) as subscription:
            async for item in subscription:
                if isinstance(item, Message) and item.reply_to is not None:
                    await self._answer(item, await _resolve(function(item)))

    def presence(self, channel: str, *, limit: int | None = None, after: str | None = None) -> "Deferred[Members]":
        """Return a page of the members of a channel."""
        return self._perform(calls.presence(channel, limit, after))

    def enter(self, channel: str, id: str, meta: object = None, *, ttl: float = 30.0) -> "Deferred[None]":
        """Become a member by a lease, or renew it: see `Pushd.enter`."""
        return self._perform(calls.enter(channel, id, meta, ttl))

    def leave(self, channel: str, id: str) -> "Deferred[None]":
        """End a lease."""
        return self._perform(calls.leave(channel, id))

    def heartbeat(self, id: str, *, timestamp: float | None = None) -> "Deferred[Heartbeat]":
        """Send a heartbeat: see `Pushd.heartbeat`."""
        return self._perform(calls.heartbeat(id, timestamp))

    def last_heartbeat(self, id: str) -> "Deferred[Heartbeat]":
        """Return the last heartbeat of an id."""
        return self._perform(calls.last_heartbeat(id))

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        content_type: str | None = None,
    ) -> "Deferred[Any]":
        """Send any other request of the API, and return the decoded JSON: see `Pushd.call`."""
        return self._perform(calls.other(method, path, query, body, content_type))

    def _perform(self, call: Call[T]) -> "Deferred[T]":
        return Deferred.fromCoroutine(self._core.caller.perform(call))

    async def _answer(self, request: Message, data: object) -> None:
        try:
            await self.reply(request, data)
        except ClientClosed:
            return  # and the subscription ends
        except Refused as refused:
            if refused.code != "no-request":  # the asker has left, or another responder was faster
                raise


class TwistedSubscription:
    """An asynchronous iterator over the messages, gaps and ends of topics, which resumes after each loss.

    One coroutine iterates; another one may close it. As an asynchronous context manager it is connected when the block
    begins, and closed when it ends. Without one, leaving a loop early keeps the connection until the client is closed.

    An ``anext`` that is cancelled loses nothing: the next one returns the item.
    """

    def __init__(self, subscriber: Subscriber, on_close: "Callable[[TwistedSubscription], None]") -> None:
        """For `TwistedPushd.subscribe`."""
        self._on_close = on_close
        self._subscriber = subscriber
        self._is_closed = False
        self._pending: _PendingItem | None = None
        """Waits for the next item, and outlives a call that is cancelled."""

    @property
    def connection(self) -> str | None:
        """The id of the present connection, for `except_`; None while there is none."""
        return self._subscriber.connection_id

    @property
    def cursor(self) -> str | None:
        """The cursor from which to resume after the item that was returned last; None until connected."""
        return self._subscriber.cursor

    async def __aenter__(self) -> "TwistedSubscription":
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

    def __aiter__(self) -> "TwistedSubscription":
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
        pending = self._pending = self._pending or _PendingItem(self._subscriber.next_item())
        try:
            return await pending.wait()
        except (CancelledError, PushdError):
            if self._is_closed and pending.is_done:
                return None
            raise
        finally:
            if pending.is_done:
                self._pending = None

    def close(self) -> "Deferred[None]":
        """Close the connection; iteration ends."""
        self._is_closed = True
        self._on_close(self)
        if self._pending is not None:
            self._pending.cancel()
        return Deferred.fromCoroutine(self._subscriber.close())


class _PendingItem:
    """Waits for the next item, although those who wait for it may be cancelled."""

    def __init__(self, coroutine: Coroutine[Any, Any, Item | None]) -> None:
        self.is_done = False
        self._result: Any = None
        self._waiter: Deferred[Item | None] | None = None
        self._running = Deferred.fromCoroutine(coroutine)
        self._running.addBoth(self._arrive)

    def wait(self) -> "Deferred[Item | None]":
        """Return a Deferred for the item."""
        waiter: Deferred[Item | None] = Deferred(self._forget)
        if self.is_done:
            waiter.callback(self._result)
        else:
            self._waiter = waiter
        return waiter

    def cancel(self) -> None:
        """Stop waiting."""
        self._running.cancel()

    def _arrive(self, result: Any) -> None:
        self.is_done, self._result = True, result
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(result)

    def _forget(self, waiter: object) -> None:
        self._waiter = None


class _Lock:
    """A lock of coroutines, as the core expects it."""

    def __init__(self) -> None:
        self._lock = DeferredLock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


async def _resolve(token: Any) -> object:
    return await token if isawaitable(token) else token
