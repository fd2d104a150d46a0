"""The synchronous client, which needs only the standard library."""

import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal

from .messages import Item, Message
from .publications import Publication
from .results import Heartbeat, History, Members, Receipt, Reply

Token = str | Callable[[], str] | None
"""A token, or a function that returns one: called again when the daemon refuses the last one, or it expires soon."""
Since = str | float | None
"""A cursor, ``all``, ``last:N``, ``latest``, a duration such as ``5m``, or unix seconds; None: now."""
Transport = Literal["sse", "websocket"]


class Pushd:
    """A client of one daemon.

    All threads may share it. Connections are not shared with child processes: after a fork each opens its own.

    :param url: the address of the daemon, ``http://HOST[:PORT][/PATH]`` or ``https://…``.
    :param token: see `Token`.
    :param timeout: the seconds that one attempt may take.
    :param retry_seconds: for how long a call that failed is repeated, where a repeat does no harm; 0: never. At most
        100, since the daemon remembers an Idempotency-Key for 120 seconds.
    :param ssl_context: for ``https``; None: the default of Python.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        token: Token = None,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 60.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> "Pushd":
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End all subscriptions and calls, in whatever thread, with `ClientClosed`, and close all connections."""

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
        keep: bool | None = None,
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
        :param keep: False: only to those who are connected now; None: as configured for the channel.
        :param except_: the id of a connection that does not receive the message: see `Subscription.connection`.
        :raises Refused: when the daemon refuses it.
        :raises ConnectionFailed: when the daemon does not answer.
        """
        raise NotImplementedError

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
        keep: bool | None = None,
        except_: str | None = None,
    ) -> "list[Receipt]":
        """Publish a message to several channels, to all or to none of them. See `publish`."""
        raise NotImplementedError

    def batch(self, messages: Iterable[Publication], *, key: str | None = None) -> "list[Receipt | Exception]":
        """Publish many messages in one request.

        :returns: for each message, in the same order, the receipt or the `Refused` that the daemon answered.
        """
        raise NotImplementedError

    def delete(self, channel: str) -> None:
        """Delete a channel with its history."""
        raise NotImplementedError

    def history(self, topics: str | Iterable[str], *, since: Since = None, limit: int | None = None) -> History:
        """Return stored messages of topics, oldest first; without `since` the newest."""
        raise NotImplementedError

    def cursor(self, topics: str | Iterable[str] = ()) -> str:
        """Return the cursor of the present: a page that is rendered with it and subscribes with it misses nothing."""
        raise NotImplementedError

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
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def reply(self, request: Message, data: object = "", *, content_type: str | None = None) -> None:
        """Answer a request, once.

        :raises Refused: ``no-request`` when it waits no longer, or was answered.
        :raises ValueError: when the message is no request.
        """
        raise NotImplementedError

    def respond(self, topics: str | Iterable[str], function: Callable[[Message], object], **options: Any) -> None:
        """Answer each request with what a function returns, until the client is closed.

        :param options: those of `subscribe`.
        """
        raise NotImplementedError

    def presence(self, channel: str, *, limit: int | None = None, after: str | None = None) -> Members:
        """Return a page of the members of a channel."""
        raise NotImplementedError

    def enter(self, channel: str, id: str, meta: object = None, *, ttl: float = 30.0) -> None:
        """Become a member by a lease, or renew it: it ends after `ttl` seconds."""
        raise NotImplementedError

    def leave(self, channel: str, id: str) -> None:
        """End a lease."""
        raise NotImplementedError

    def heartbeat(self, id: str, *, timestamp: float | None = None) -> Heartbeat:
        """Send a heartbeat.

        :param timestamp: the time of this computer in unix seconds, for `Heartbeat.lag`.
        """
        raise NotImplementedError

    def last_heartbeat(self, id: str) -> Heartbeat:
        """Return the last heartbeat of an id."""
        raise NotImplementedError

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
        raise NotImplementedError


class Subscription:
    """An iterator over the messages, gaps and ends of topics, which resumes after each loss of the connection.

    It belongs to one thread, except `close`, which any thread may call. As a context manager it is connected when the
    block begins, so that it receives what is published from then on.
    """

    connection: str | None
    """The id of the present connection."""
    cursor: str | None
    """The cursor from which to resume after the item that was returned last; None until connected."""

    def __enter__(self) -> "Subscription":
        """Connect."""
        raise NotImplementedError

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
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection; iteration ends."""
