"""A session: its queue of commands, and what each command does."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from pushd.backends.memory import MemoryBackend
from pushd.core.command import (
    Acknowledged,
    Authenticate,
    Command,
    CommandList,
    FormatSet,
    Goodbye,
    Help,
    HistoryResult,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Quit,
    ReadHistory,
    ReadStatus,
    Replied,
    Reply,
    RequestRefused,
    SendRequest,
    SetFormat,
    StatusResult,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from pushd.core.cursor import MessageId
from pushd.core.errors import BadCommand, Forbidden, InternalError, NoRoom, Refusal
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.core.names import Scope
from pushd.core.outbox import Policy
from pushd.core.peer import DAEMON
from pushd.core.subscriber import SubscriberClosed
from pushd.hub.hub import Hub
from pushd.hub.session import Session
from pushd.hub.session_queue import SessionContext
from pushd.metrics import Counters
from tests.build import FakePeer, ReadableWire


class Item:
    """An item that is executed when the test says so."""

    def __init__(self) -> None:
        self.is_started = False
        self.done: Deferred[None] = Deferred()


class Connection:
    """A connection whose session executes items, and that records what the session calls."""

    def __init__(self, hub: Hub, clock: Clock, scope: Scope | None = None, wire: ReadableWire | None = None) -> None:
        self.peer = FakePeer(wire)
        self.subscriber = self.peer.subscriber
        hub.add(self.subscriber)
        context = SessionContext(hub, clock, {"words": ReadableWire(), "bare": ReadableWire(data_only=True)})
        self.session: Session[Item] = Session(context, self.subscriber, scope)
        self.idle = 0
        self.closed: list[Refusal] = []

    async def execute(self, items: deque[Item]) -> None:
        """See `SessionConnection`."""
        item = items.popleft()
        item.is_started = True
        await item.done

    def on_idle(self) -> None:
        """See `SessionConnection`."""
        self.idle += 1

    def close(self, why: Refusal) -> None:
        """See `SessionConnection`."""
        self.closed.append(why)

    async def ask(self, command: Command) -> Reply:
        """Execute a command, and return the reply to it."""
        replies: list[Reply] = []
        await self.session.execute(command, replies.append)
        (reply,) = replies
        return reply


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_twisted.async_yield_fixture
async def hub(clock: Clock) -> AsyncIterator[Hub]:
    hub = Hub(MemoryBackend(Bounds(), clock, clock.seconds, "E"), clock, Counters(), wall=clock.seconds)
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
def connection(hub: Hub, clock: Clock) -> Connection:
    return Connection(hub, clock)


# The queue


async def test_items_are_executed_one_at_a_time_in_order(connection):
    first, second, third = Item(), Item(), Item()
    connection.session.put([first, second], connection)
    connection.session.put([third], connection)
    for item, following in ((first, second), (second, third)):
        assert (item.is_started, following.is_started, connection.idle) == (True, False, 0)
        item.done.callback(None)
    assert (third.is_started, connection.session.is_busy) == (True, True)
    third.done.callback(None)
    assert (connection.idle, connection.session.is_busy) == (1, False)


async def test_an_item_waits_until_the_peer_has_read_what_was_sent_before(connection):
    item = Item()
    connection.subscriber.pause()
    connection.session.put([item], connection)
    assert (item.is_started, connection.session.is_busy) == (False, True)
    connection.subscriber.resume()
    assert item.is_started
    item.done.callback(None)
    assert connection.idle == 1


async def test_items_that_take_long_leave_turns_to_the_reactor(connection, clock):
    first, second = Item(), Item()
    connection.session.put([first, second], connection)
    clock.advance(1)
    first.done.callback(None)
    assert not second.is_started
    clock.advance(0)
    assert second.is_started
    second.done.callback(None)
    assert connection.idle == 1


async def test_nothing_is_executed_after_the_connection_is_closed(connection, hub):
    first, second = Item(), Item()
    connection.session.put([first, second], connection)
    connection.session.clear()
    hub.remove(connection.subscriber)
    first.done.callback(None)
    assert (second.is_started, connection.idle, connection.session.is_busy) == (False, 0, False)


async def test_an_item_that_waits_for_a_peer_that_is_closed_is_not_executed(connection, hub):
    item = Item()
    connection.subscriber.pause()
    connection.session.put([item], connection)
    connection.session.clear()
    hub.remove(connection.subscriber)
    assert (item.is_started, connection.idle, connection.session.is_busy) == (False, 0, False)


async def test_a_bug_is_logged_and_closes_the_connection(connection, expected_failures: list[LogEvent]):
    first, second = Item(), Item()
    connection.session.put([first, second], connection)
    first.done.errback(RuntimeError("a bug"))
    assert [type(why) for why in connection.closed] == [InternalError]
    assert (second.is_started, connection.idle, connection.session.is_busy) == (False, 0, False)
    assert [str(event["log_failure"].value) for event in expected_failures] == ["a bug"]


async def test_a_bug_after_the_connection_is_closed_is_only_logged(connection, hub, expected_failures):
    item = Item()
    connection.session.put([item], connection)
    hub.remove(connection.subscriber)
    item.done.errback(RuntimeError("a bug"))
    assert (connection.closed, len(expected_failures)) == ([], 1)


async def test_a_subscription_whose_connection_is_closed_meanwhile_ends_the_session_silently(connection):
    item = Item()
    connection.session.put([item], connection)
    item.done.errback(SubscriberClosed(None))
    assert (connection.closed, connection.idle, connection.session.is_busy) == ([], 0, False)


# Commands


ID = "the id of the connection"
REPLIES: dict[Command, Reply] = {
    PublishMessage(draft("a", b"x")): Published("E-2", 1),
    Subscribe(("b", "c/*")): Subscribed(("b", "c/*"), None, MessageId("E", 1), ID),
    Unsubscribe(("a", "never")): Unsubscribed(("a",)),
    SetFormat("bare"): FormatSet("bare"),
    Ping("token"): Pong("token"),
    Authenticate("token"): Acknowledged(),
    Help(): CommandList(),
    Quit(): Goodbye(),
}


@pytest.mark.parametrize("command", REPLIES, ids=lambda command: type(command).__name__)
async def test_a_command_is_executed_and_answered(connection, hub, command):
    await hub.publish(DAEMON, draft("a", b"first"))
    await connection.ask(Subscribe(("a",)))
    reply = await connection.ask(command)
    if isinstance(reply, Subscribed):
        assert reply.connection == connection.subscriber.peer.id
        reply = replace(reply, connection=ID)
    assert reply == REPLIES[command]


async def test_history_and_status_are_those_of_the_hub(connection, hub):
    receipt = await hub.publish(DAEMON, draft("a", b"x"))
    history = await connection.ask(ReadHistory(("a",), 9))
    assert isinstance(history, HistoryResult)
    assert ([message.id for message in history.messages], history.topics) == ([receipt.id], ("a",))
    status = await connection.ask(ReadStatus("a"))
    assert isinstance(status, StatusResult)
    assert (status.info.channel, status.subscribers) == ("a", {})


async def test_the_reply_to_a_subscription_comes_before_its_replay(connection, hub):
    await hub.publish(DAEMON, draft("a", b"x"))
    sent: list[list[str]] = []
    command = Subscribe(("a",), since=MessageId("E", 0), slow=Policy.DROP)
    await connection.session.execute(command, lambda reply: sent.append(list(connection.peer.writes)))
    assert (sent, connection.peer.writes) == ([[]], ["a:1"])
    assert connection.subscriber.policy is Policy.DROP


async def test_a_gap_is_reported_once_by_the_reply_if_the_format_cannot_report_it(hub, clock):
    reporting, bare = Connection(hub, clock), Connection(hub, clock, wire=ReadableWire(data_only=True))
    since = MessageId("another epoch", 7)
    command = Subscribe(("a",), since)
    id = reporting.subscriber.peer.id
    assert await reporting.ask(command) == Subscribed(("a",), None, since, id)
    assert [write.rpartition(":")[2] for write in reporting.peer.writes] == ["epoch"]
    id = bare.subscriber.peer.id
    assert await bare.ask(command) == Subscribed(("a",), "epoch", since, id)
    assert bare.peer.writes == []


async def test_an_unknown_format_is_refused_and_changes_nothing(connection):
    before = connection.subscriber.wire
    with pytest.raises(BadCommand, match=r"^format must be one of words, bare$"):
        await connection.ask(SetFormat("xml"))
    assert connection.subscriber.wire is before


async def test_a_request_is_answered_when_its_reply_arrives_and_other_commands_are_executed_before(connection, hub):
    await connection.ask(Subscribe(("a",)))
    replies: list[Reply] = []
    for data in (b"1", b"2"):
        await connection.session.execute(SendRequest(draft("a", data), 10), replies.append)
    assert (await connection.ask(Ping("x")), connection.session.waits_for_replies) == (Pong("x"), True)
    one, other = hub.requests._open.all
    for request in (other, one):
        await hub.publish(DAEMON, draft(f"$reply/{request.token}", b"done"))
    answers = [reply for reply in replies if isinstance(reply, Replied)]
    assert [(each.number, each.channel, each.reply.data) for each in answers] == [(2, "a", b"done"), (1, "a", b"done")]
    assert not connection.session.waits_for_replies


async def test_a_refused_request_is_answered_with_its_number(connection, hub):
    for number in (1, 2):
        reply = await connection.ask(SendRequest(draft("nobody", b"x"), 10))
        assert isinstance(reply, RequestRefused)
        assert (reply.number, reply.refusal.code) == (number, "no-responders")


async def test_a_reply_that_cannot_be_sent_closes_the_connection(connection, hub):
    await connection.ask(Subscribe(("a",)))

    def fail(reply: Reply) -> None:
        raise NoRoom("the peer does not read")

    await connection.session.execute(SendRequest(draft("a", b"x"), 10), fail)
    (request,) = hub.requests._open.all
    await hub.publish(DAEMON, draft(f"$reply/{request.token}", b"done"))
    assert isinstance(connection.peer.closed_with, NoRoom)


async def test_commands_outside_the_scope_are_refused(hub, clock):
    confined = Connection(hub, clock, Scope(("a", "b/**")))
    commands = (PublishMessage(draft("c", b"x")), Subscribe(("a", "c")), ReadHistory(("*",), 1), ReadStatus("c"))
    for command in commands:
        with pytest.raises(Forbidden, match="is not covered by the topics"):
            await confined.ask(command)
    subscribed = await confined.ask(Subscribe(("a", "b/*")))
    assert isinstance(subscribed, Subscribed) and subscribed.topics == ("a", "b/*")
    results = await confined.session.publish([draft("b/c", b"1"), BadCommand("malformed"), draft("c", b"2")])
    kinds = [type(result).__name__ for result in results]
    assert kinds == ["Receipt", "BadCommand", "Forbidden"]
