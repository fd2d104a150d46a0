"""The synchronous client, which needs only the standard library."""

import ssl
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from .core import calls
from .core.address import Address, split_topics
from .core.backoff import Backoff
from .core.call import Call
from .core.client import ClientCore
from .core.subscriber import Subscriber
from .core.subscription_options import Since, Transport, subscription_options
from .errors import ClientClosed, PushdError, Refused
from .messages import Item, Message
from .network.sync_http import SyncHttp
from .network.sync_subscription import SyncSubscriptionNetwork
from .publications import Publication
from .results import Heartbeat, History, Members, Receipt, Reply

T = TypeVar("T")

Token = str | Callable[[], str] | None
"""A token, or a function that returns one: called again when the daemon refuses the last one, or it expires soon."""


class Pushd:
    """A client of one daemon.

    All threads may share it. Connections are not shared with child processes: after a fork each opens its own.

    :param url: the address of the daemon, ``http://HOST[:PORT][/PATH]`` or ``https://…``.
    :param token: see `Token`.
    :param timeout: the seconds that one attempt may take.
    :param retry_seconds: for how long a call that failed is repeated, where a repeat does no harm; 0: never. At most
        100, since the daemon remembers an Idempotency-Key for 120 seconds.
    :param backoff: the delays between attempts.
    :param ssl_context: for ``https``; None: the default of Python.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        token: Token = None,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 60.0,
        backoff: Backoff = Backoff(),  # noqa: B008 (it is immutable)
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        address = Address(url)
        self._http = SyncHttp(address, ssl_context)
        lock = _ThreadLock()
        self._core = ClientCore(address, self._http, token, _resolve, lock, timeout, retry_seconds, backoff)
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._lock = threading.Lock()

    def __enter__(self) -> "Pushd":
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close all connections: subscriptions end, and calls of other threads raise `ClientClosed`."""
        self._http.close()
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()

    def publish(
        self,
        channel: str,
        data: object = "",
        *,
        key: str | None = None,
        content_type: str | None = None,
        event: str | None = None,
        ttl: float | None = None,
        end: bool = False,
        keep: bool | None = True,
        except_: str | None = None,
    ) -> Receipt:
        """Publish a message.

        A call that fails is repeated with the same Idempotency-Key, so that the message is published once. With
        `keep=False` it is repeated only where the daemon certainly did not receive it.

        :param data: `bytes` are sent as they are; `str` is text; anything else is sent as JSON.
        :param key: the Idempotency-Key; by default one for each call. Pass your own, such as the id of a job, to
            publish once even if your program is restarted (within 120 seconds).
        :param content_type: the media type. With ``application/json`` a `str` is a JSON string.
        :param event: the event type.
        :param ttl: seconds after which the message expires.
        :param end: whether it is the last message of the channel.
        :param keep: False: only to those who are connected now; None: as configured for the channel. In both cases
            without a key, which only a kept message can have.
        :param except_: the id of a connection that does not receive the message: see `Subscription.connection`.
        :raises Refused: when the daemon refuses it.
        :raises ConnectionFailed: when the daemon does not answer.
        """
        message = Publication(channel, data, content_type, event, ttl, end, keep, except_)
        return self._perform(calls.publish(message, key))

    def publish_to(
        self,
        channels: Iterable[str],
        data: object = "",
        *,
        key: str | None = None,
        content_type: str | None = None,
        event: str | None = None,
        ttl: float | None = None,
        end: bool = False,
        keep: bool | None = True,
        except_: str | None = None,
    ) -> "list[Receipt | Refused]":
        """Publish a message to several channels. See `publish`.

        :returns: for each channel, in the same order, the receipt or the `Refused` that the daemon answered.
        """
        names = split_topics(channels)
        message = Publication(names[0], data, content_type, event, ttl, end, keep, except_)
        return self._perform(calls.publish_to(names, message, key))

    def batch(self, messages: Iterable[Publication], *, key: str | None = None) -> "list[Receipt | Refused]":
        """Publish many messages in one request.

        :returns: for each message, in the same order, the receipt or the `Refused` that the daemon answered.
        """
        return run(self._core.caller.publish_batch(messages, key))

    def delete(self, channel: str) -> None:
        """Delete a channel with its history."""
        self._perform(calls.delete(channel))

    def history(self, topics: str | Iterable[str], *, since: Since = None, limit: int | None = None) -> History:
        """Return stored messages of topics, oldest first; without `since` the newest."""
        return self._perform(calls.history(topics, since, limit))

    def cursor(self, topics: str | Iterable[str] = ()) -> str:
        """Return the cursor of the present: a page that is rendered with it and subscribes with it misses nothing."""
        return self._perform(calls.cursor(topics))

    def subscribe(
        self,
        topics: str | Iterable[str],
        *,
        since: Since = None,
        slow: str | None = None,
        presence: str | None = None,
        presence_id: str | None = None,
        responder: bool = False,
        transport: Transport = "sse",
        idle_timeout: float = 60.0,
        outage_seconds: float | None = None,
        max_message_bytes: int = 16 << 20,
    ) -> "Subscription":
        """Subscribe to topics: iterate over the result.

        :param topics: channels and patterns.
        :param since: where to begin.
        :param slow: the policy when this client does not read fast enough: ``disconnect``, ``drop`` or ``latest``.
        :param presence: ``self``: become a member of the channels.
        :param presence_id: become a member under this id.
        :param responder: whether to answer requests that match a pattern; subscribers of the channel itself may always.
        :param transport: ``sse``, or ``websocket``, which needs the package `websockets`.
        :param idle_timeout: the seconds without a byte from the daemon after which the connection is lost.
        :param outage_seconds: for how long to reconnect after a loss; None: until it succeeds. The first connection is
            attempted for `retry_seconds`.
        :param max_message_bytes: the largest message, as JSON, that is accepted.
        """
        options = subscription_options(
            topics,
            since=since,
            slow=slow,
            presence=presence,
            presence_id=presence_id,
            responder=responder,
            transport=transport,
            idle_timeout=idle_timeout,
            outage_seconds=outage_seconds,
            max_message_bytes=max_message_bytes,
        )
        network = SyncSubscriptionNetwork(self._core.address, self._http, options.max_message_bytes)
        subscription = Subscription(self._core.subscriber(options, network), network)
        with self._lock:
            self._subscriptions.add(subscription)
        if self._http.is_closed:
            subscription.close()
        return subscription

    def request(
        self,
        channel: str,
        data: object = "",
        *,
        timeout: float = 10.0,
        content_type: str | None = None,
        event: str | None = None,
    ) -> Reply:
        """Publish a request and return the first reply.

        It is repeated only where nobody has received it.

        :param timeout: the seconds to wait for the reply, at most 60.
        :raises NoResponders: when nobody could answer it.
        :raises NoReply: when nobody did.
        """
        return self._perform(calls.request(Publication(channel, data, content_type, event), timeout))

    def reply(self, request: Message, data: object = "", *, content_type: str | None = None) -> None:
        """Answer a request, once.

        :raises Refused: ``no-request`` when it waits no longer, or was answered.
        :raises ValueError: when the message is no request.
        """
        self._perform(calls.reply(request, data, content_type))

    def respond(self, topics: str | Iterable[str], function: Callable[[Message], object], **options: Any) -> None:
        """Answer each request with what a function returns, until the client is closed.

        :param options: those of `subscribe`.
        """
        with self.subscribe(topics, **options) as subscription:
            for item in subscription:
                if isinstance(item, Message) and item.reply_to is not None:
                    self._answer(item, function(item))

    def presence(self, channel: str, *, limit: int | None = None, after: str | None = None) -> Members:
        """Return a page of the members of a channel."""
        return self._perform(calls.presence(channel, limit, after))

    def enter(self, channel: str, id: str, meta: object = None, *, ttl: float = 30.0) -> None:
        """Become a member by a lease, or renew it: it ends after `ttl` seconds."""
        self._perform(calls.enter(channel, id, meta, ttl))

    def leave(self, channel: str, id: str) -> None:
        """End a lease."""
        self._perform(calls.leave(channel, id))

    def heartbeat(self, id: str, *, timestamp: float | None = None) -> Heartbeat:
        """Send a heartbeat.

        :param timestamp: the time of this computer in unix seconds, for `Heartbeat.lag`.
        """
        return self._perform(calls.heartbeat(id, timestamp))

    def last_heartbeat(self, id: str) -> Heartbeat:
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
    ) -> Any:
        """Send any other request of the API, such as ``GET /channels``, and return the decoded JSON.

        ``GET`` is repeated when it fails, other methods only where the daemon certainly did not receive them.

        :param path: percent-encoded, below the address of the daemon.
        :param query: parameters; those that are None are omitted.
        """
        return self._perform(calls.other(method, path, query, body, content_type))

    def _perform(self, call: Call[T]) -> T:
        return run(self._core.caller.perform(call))

    def _answer(self, request: Message, data: object) -> None:
        try:
            self.reply(request, data)
        except ClientClosed:
            return  # and the subscription ends
        except Refused as refused:
            if refused.code != "no-request":  # the asker has left, or another responder was faster
                raise


class Subscription:
    """An iterator over the messages, gaps and ends of topics, which resumes after each loss of the connection.

    It belongs to one thread, except `close`, which any thread may call. As a context manager it is connected when the
    block begins, so that it receives what is published from then on.
    """

    def __init__(self, subscriber: Subscriber, network: SyncSubscriptionNetwork) -> None:
        """For `Pushd.subscribe`."""
        self._subscriber = subscriber
        self._network = network
        self._in_use = threading.Lock()
        """Held by the thread that waits for an item, which then also closes the connection."""

    @property
    def connection(self) -> str | None:
        """The id of the present connection, for `except_`; None while there is none."""
        return self._subscriber.connection_id

    @property
    def cursor(self) -> str | None:
        """The cursor from which to resume after the item that was returned last; None until connected."""
        return self._subscriber.cursor

    def __enter__(self) -> "Subscription":
        """Connect. Raises as `__next__`."""
        try:
            with self._in_use:
                run(self._subscriber.open())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __iter__(self) -> "Subscription":
        """Return itself."""
        return self

    def __next__(self) -> Item:
        """Wait for the next item.

        :raises StopIteration: when all channels have ended, or after `close`.
        :raises AuthenticationFailed: when there is no valid token any more.
        :raises Refused: when the daemon refuses the subscription.
        :raises ConnectionFailed: when the daemon does not answer for too long.
        """
        item = None
        if not self._network.is_closed:
            try:
                with self._in_use:
                    item = run(self._subscriber.next_item())
            except PushdError:
                if not self._network.is_closed:
                    raise
        if item is None:
            self.close()
            raise StopIteration
        return item

    def __del__(self) -> None:
        """Close it, when a loop was left without `close`."""
        if not self._network.is_closed:
            self.close()

    def close(self) -> None:
        """Close the connection; iteration ends."""
        self._network.close()
        if self._in_use.acquire(blocking=False):
            try:
                run(self._subscriber.close())
            finally:
                self._in_use.release()


class _ThreadLock:
    """A lock of threads, as the core expects it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


async def _resolve(token: object) -> object:
    return token


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the core to completion: with blocking connections it never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine with blocking connections must not suspend")
