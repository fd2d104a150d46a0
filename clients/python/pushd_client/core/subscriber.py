"""Runs a subscription: connects, receives, renews the token, reconnects."""

import enum
import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone

from ..errors import AuthenticationFailed, ConnectionFailed, NotPermitted, PushdError, Refused, TemporarilyRefused
from ..messages import Item
from .address import USER_AGENT, Address, quote_topics
from .backoff import Delays
from .call import Call, Repeat, read_json
from .caller import Caller
from .close_codes import refusal_of_close
from .encoding import encode_json
from .interface import Closed, Connection, HttpRequest, HttpResponse, SubscriptionNetwork
from .refusals import refusal, refusal_of
from .resumption import Resumption
from .sse import EventParser, Retry
from .stream_objects import Begin, CommandReply, Expired, Expiring, StreamObject, parse_object
from .subscription_options import SubscriptionOptions
from .token_source import TokenSource, authorization

_log = logging.getLogger("pushd_client")
_ENDED, _RESTARTING = 4410, 1012
"""Close codes of the daemon (docs/protocol.md); those of refusals are in `close_codes`."""
_RESTART_SPREAD_SECONDS = 3.0
"""The first ceiling of the delay after a restart, as that of server-sent events."""
_OK, _NO_CONTENT, _SWITCHING, _GONE = 200, 204, 101, 410
_AUTH_REF = "auth"


class StreamEnded(ConnectionFailed):
    """The daemon, or a proxy, has ended a stream in order, but not the subscription."""


class State(enum.Enum):
    """The states of a subscription."""

    DISCONNECTED = enum.auto()
    """No connection: the next step is to wait, and to connect."""
    CONNECTED = enum.auto()
    """Connected, but the start cursor has not arrived yet."""
    OPEN = enum.auto()
    """The start cursor has arrived: what is published from now on is received."""
    FINISHED = enum.auto()
    """All channels have ended, or the subscription was closed."""


class Subscriber:
    """The items of one subscription, over as many connections as it takes."""

    def __init__(
        self,
        options: SubscriptionOptions,
        address: Address,
        network: SubscriptionNetwork,
        caller: Caller,
        tokens: TokenSource,
        timeout: float,
        first_outage_seconds: float,
        delays: Delays,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param timeout: the seconds that connecting may take.
        :param first_outage_seconds: for how long the first connection is attempted.
        """
        self.state = State.DISCONNECTED
        self.connection_id: str | None = None
        self.resumption = Resumption(options.topics)
        self.cursor: str | None = None
        """Where to resume after the item that was returned last."""
        self._options = options
        self._address = address
        self._network = network
        self._caller = caller
        self._tokens = tokens
        self._timeout = timeout
        self._delays = delays
        self._clock = clock
        self._received: deque[StreamObject | Retry | None] = deque()
        """What was received and not taken yet: at most one piece of the stream. A cancelled call leaves it as it is."""
        self._items: deque[tuple[Item, str | None]] = deque()
        """The items to be returned, each with the cursor after it."""
        self._connection: Connection | None = None
        self._parser: EventParser | None = None
        self._token: str | None = None
        self._is_renewed = False
        """Whether the token was renewed since the last connection that was accepted."""
        self._delay = 0.0
        """The seconds until the next attempt to connect."""
        self._retry: float | None = None
        """What ``retry`` said since the start cursor."""
        self._spread = 0.0
        """What ``retry`` said before the start cursor: the daemon's default for all clients."""
        self._outage_seconds: float | None = first_outage_seconds
        self._outage_began: float | None = None

    @property
    def has_items(self) -> bool:
        """Whether `next_item` returns without waiting."""
        return bool(self._items)

    async def open(self) -> None:
        """Connect, and wait for the start cursor. Raises as `next_item`."""
        while self.state in (State.DISCONNECTED, State.CONNECTED):
            await self._advance()

    async def next_item(self) -> Item | None:
        """Wait for the next item; None when all channels have ended.

        :raises PushdError: when the subscription cannot be continued.
        """
        while not self._items:
            if self.state is State.FINISHED:
                return None
            await self._advance()
        item, self.cursor = self._items.popleft()
        return item

    async def close(self) -> None:
        """Close the connection; there are no further items."""
        self.state = State.FINISHED
        self._items.clear()
        await self._disconnect()

    # Steps

    async def _advance(self) -> None:
        try:
            if self._received:
                await self._take(self._received.popleft())
            elif self.state is State.DISCONNECTED:
                await self._connect()
            else:
                await self._receive()
        except StreamEnded as error:
            await self._lose(error, self._retry)
        except ConnectionFailed as error:
            await self._lose(error)
        except TemporarilyRefused as error:
            await self._lose(error, error.retry_after)
        except AuthenticationFailed as error:
            await self._renew(error)
        except PushdError:
            await self.close()
            raise

    async def _connect(self) -> None:
        delay, self._delay = self._delay, 0.0
        if delay:
            self._delay = delay  # in case the wait is cancelled
            await self._network.sleep(delay)
            self._delay = 0.0
        if self._outage_began is None:
            self._outage_began = self._clock()
        self._token = await self._tokens.get()
        is_websocket = self._options.transport == "websocket"
        connect = self._network.open_websocket if is_websocket else self._network.open_stream
        response, connection = await connect(self._request(), self._options.idle_seconds)
        if connection is None:
            self._refused(response)
            return
        if self.state is State.FINISHED:  # closed meanwhile
            await connection.close()
            return
        self._connection = connection
        self._parser = None if is_websocket else EventParser(self._options.max_message_bytes)
        self._retry = None
        self.state = State.CONNECTED

    def _refused(self, response: HttpResponse) -> None:
        if response.status not in (_NO_CONTENT, _GONE):
            raise refusal_of(response)
        self._finish()

    async def _receive(self) -> None:
        assert self._connection is not None
        received = await self._connection.receive()
        if isinstance(received, Closed):
            await self._closed(received)
        elif isinstance(received, str):
            self._received.append(parse_object(received))
        else:
            assert self._parser is not None
            for event in self._parser.feed(received):
                self._received.append(event if isinstance(event, Retry) else parse_object(event.data))

    async def _take(self, received: StreamObject | Retry | None) -> None:
        """Take one object of the stream."""
        match received:
            case None:
                pass
            case Retry(seconds):
                self._take_retry(seconds)
            case Begin():
                self._begin(received)
            case Expiring():
                await self._renew_in_place(received)
            case Expired():
                raise refusal(received.code, "the token is not valid any more")
            case CommandReply():
                await self._take_reply(received)
            case _:
                if self.resumption.accept(received):
                    self._items.append((received, self.resumption.cursor))

    async def _take_reply(self, reply: CommandReply) -> None:
        if reply.error is None:
            return
        if reply.ref != _AUTH_REF:  # the new token does not cover a topic
            raise refusal(str(reply.error.get("code")), str(reply.error.get("message")))
        await self._disconnect()

    def _begin(self, begin: Begin) -> None:
        self.resumption.begin(begin.cursor)
        self.cursor = self.cursor or self.resumption.cursor
        if self._connection is None:  # it was lost meanwhile
            return
        self.connection_id = begin.connection
        self.state = State.OPEN
        self._retry = None
        self._is_renewed = False
        self._delays.reset()
        self._outage_began, self._outage_seconds = None, self._options.outage_seconds

    def _take_retry(self, seconds: float) -> None:
        if self.state is State.OPEN:
            self._retry = seconds
        else:
            self._retry = self._spread = seconds

    # Ends of connections

    async def _closed(self, closed: Closed) -> None:
        """Take the orderly end of a connection.

        :raises StreamEnded: when the subscription goes on.
        :raises Refused: when the daemon has ended it for good.
        """
        if closed.code == _ENDED or (closed.code is None and self.state is State.OPEN and self.resumption.is_complete):
            await self._disconnect()
            self._finish()
        elif (refused := refusal_of_close(closed.code, closed.reason)) is not None:
            raise refused
        else:
            if closed.code == _RESTARTING:
                self._spread = max(self._spread, _RESTART_SPREAD_SECONDS)
            reason = "the stream has ended" if closed.code is None else f"closed with {closed.code} {closed.reason}"
            raise StreamEnded(reason.strip())

    async def _lose(self, error: PushdError, at_least: float | None = None) -> None:
        """Reconnect after a delay, or raise the error when the outage has lasted too long."""
        await self._disconnect()
        if self.state is State.FINISHED:
            return
        now = self._clock()
        began = self._outage_began = now if self._outage_began is None else self._outage_began
        self._delay = self._delays.delay(at_least, self._spread)
        if self._outage_seconds is not None and now + self._delay - began > self._outage_seconds:
            self.state = State.FINISHED
            raise error
        _log.info("%s: %s: reconnecting in %.1f s", self._address, error, self._delay)

    async def _renew(self, refused: AuthenticationFailed) -> None:
        """Reconnect with another token, or raise the refusal if there is none."""
        await self._disconnect()
        token = None if self._is_renewed else await self._tokens.renew(self._token)
        if token is None:
            self.state = State.FINISHED
            raise refused
        self._is_renewed = True

    async def _renew_in_place(self, expiring: Expiring) -> None:
        """Replace the token of the open connection before it expires."""
        connection = self._connection
        if connection is None:  # it was lost meanwhile
            return
        try:
            token = await self._tokens.renew(self._token)
        except Exception as error:
            _log.warning("%s: the token expires, and another one cannot be had yet: %s", self._address, error)
            return
        if token is None:
            until = datetime.fromtimestamp(expiring.at, timezone.utc)
            _log.warning("%s: the token expires at %s UTC, and there is no other", self._address, f"{until:%H:%M:%S}")
            return
        self._token = token
        if connection is not self._connection:  # closed meanwhile
            return
        if self._parser is None:
            await connection.send(encode_json({"auth": token, "ref": _AUTH_REF}))
            return
        path = f"/connections/{self.connection_id}/auth"
        try:
            answer = await self._caller.perform(Call("POST", path, read_json, repeat=Repeat.IF_NOT_DONE))
        except (Refused, ConnectionFailed):  # as at another node: then a new connection has the token
            await self._disconnect()
            return
        if topics := answer.get("unsubscribed"):
            raise NotPermitted("forbidden", f"the new token does not allow to subscribe to {', '.join(topics)}")

    async def _disconnect(self) -> None:
        connection, self._connection, self.connection_id = self._connection, None, None
        if self.state is not State.FINISHED:
            self.state = State.DISCONNECTED
        if connection is not None:
            await connection.close()

    def _finish(self) -> None:
        self.state = State.FINISHED
        self._items += [(item, self.resumption.cursor) for item in self.resumption.missing_ends()]

    # The request

    def _request(self) -> HttpRequest:
        options, cursor = self._options, self.resumption.cursor
        headers = {"User-Agent": USER_AGENT, **authorization(self._token)}
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        query = {"since": options.since, **options.parameters}
        if options.transport == "websocket":
            path, query = f"/ws/{quote_topics(options.topics)}", query | {"begin": 1}
        else:
            path, query = f"/sse/{quote_topics(options.topics)}", query | {"format": "json"}
            headers["Accept"] = "text/event-stream"
        return HttpRequest("GET", self._address.target(path, query), headers, None, self._timeout)
