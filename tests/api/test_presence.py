"""Members, leases and heartbeats over HTTP."""

import json
from typing import Any

import pytest
import pytest_twisted

from tests.daemon_fixtures import Start
from tests.transports.client import Received
from tests.transports.daemon import MovableReactor, RunningDaemon, until_ready
from tests.transports.http_client import Answer
from tests.transports.line_client import TextLines
from tests.transports.stream_client import Sse


async def ask(daemon: RunningDaemon, request: str, body: bytes | None = None) -> Answer:
    """Send a request, such as ``GET /presence/c``."""
    method, path = request.split(" ")
    return await daemon.request(method, path, body)


async def code_of(daemon: RunningDaemon, request: str, body: bytes | None = None) -> tuple[int, str]:
    """Return the status and the code of a refused request."""
    answer = await ask(daemon, request, body)
    return answer.status, answer.json["error"]["code"]


async def events(daemon: RunningDaemon, channel: str) -> list[Any]:
    """Return the data of all events of a channel."""
    answer = await ask(daemon, f"GET /history/$presence/{channel}?since=all&limit=1000")
    return [message["data"] for message in answer.json]


@pytest_twisted.ensureDeferred
async def test_leases(daemon: RunningDaemon) -> None:
    answer = await ask(daemon, "PUT /presence/chat/42/alice?ttl=30", b'{ "name": "Alice" }')
    assert (answer.status, answer.json) == (200, {"channel": "chat/42", "id": "alice", "ttl": 30})
    await ask(daemon, "PUT /presence/chat/42/alice?ttl=30", b'{"name":"Alice"}')
    await ask(daemon, "PUT /presence/chat/42/alice")
    await ask(daemon, "PUT /presence/chat/42/bob?ttl=30.5")
    found = (await ask(daemon, "GET /presence/chat/42")).json
    alice = found["members"][0]
    assert alice.pop("since") > 1e9
    assert alice == {"id": "alice", "connections": 0, "meta": {"name": "Alice"}}
    assert {key: found[key] for key in ("channel", "count", "next")} == {"channel": "chat/42", "count": 2, "next": None}
    assert (await ask(daemon, "DELETE /presence/chat/42/alice")).status == 200
    assert await code_of(daemon, "DELETE /presence/chat/42/alice") == (404, "unknown-member")
    told = [(event["action"], event["id"], event["reason"]) for event in await events(daemon, "chat/42")]
    assert told == [("enter", "alice", None), ("enter", "bob", None), ("leave", "alice", "client")]


@pytest_twisted.ensureDeferred
async def test_leases_without_an_id_in_the_path(daemon: RunningDaemon) -> None:
    for method in ("PUT", "DELETE"):
        answer = await ask(daemon, f"{method} /presence/chat/42?presence_id=alice")
        assert (answer.status, answer.json["channel"], answer.json["id"]) == (200, "chat/42", "alice")
        assert await code_of(daemon, f"{method} /presence/chat?presence=self") == (400, "bad-parameter")
        assert await code_of(daemon, f"{method} /presence/chat?presence=self&presence_id=a") == (400, "bad-parameter")
        assert await code_of(daemon, f"{method} /presence/chat?presence=other") == (400, "bad-parameter")
        assert await code_of(daemon, f"{method} /presence/chat?presence_id=a/b") == (400, "bad-member")
        assert await code_of(daemon, f"{method} /presence/chat") == (404, "not-found")


@pytest_twisted.ensureDeferred
async def test_list_and_its_cursor(daemon: RunningDaemon) -> None:
    for id in ("c", "a", "b"):
        await ask(daemon, f"PUT /presence/c/{id}")
    first = (await ask(daemon, "GET /presence/c?limit=2")).json
    assert [member["id"] for member in first["members"]] == ["a", "b"]
    rest = (await ask(daemon, f"GET /presence/c?limit=2&after={first['next']}")).json
    assert ([member["id"] for member in rest["members"]], rest["next"]) == (["c"], None)
    assert (await ask(daemon, "GET /presence/c?count=1")).json == {"channel": "c", "count": 3}
    await ask(daemon, "PUT /presence/c/d")
    answer = await ask(daemon, f"GET /history/$presence/c?since={first['cursor']}")
    assert [message["data"]["id"] for message in answer.json] == ["d"]


@pytest_twisted.ensureDeferred
async def test_last_segment_is_a_member_or_a_part_of_the_channel(daemon: RunningDaemon) -> None:
    await ask(daemon, "PUT /presence/room/alice")
    answer = (await ask(daemon, "GET /presence/room/alice")).json
    assert (answer["channel"], answer["id"]) == ("room", "alice")
    assert (await ask(daemon, "GET /presence/room/alice?limit=9")).json["channel"] == "room/alice"
    assert (await ask(daemon, "GET /presence/room/bob")).json["channel"] == "room/bob"
    assert await code_of(daemon, "GET /presence/room?id=bob") == (404, "unknown-member")
    await ask(daemon, "PUT /presence/room/alice/bob")
    assert (await ask(daemon, "GET /presence/room/alice")).json["channel"] == "room/alice"
    assert (await ask(daemon, "GET /presence/room?id=alice")).json["id"] == "alice"
    await ask(daemon, "DELETE /presence/room/alice/bob")
    await ask(daemon, "DELETE /presence/room/alice")
    assert await code_of(daemon, "GET /presence/room/alice") == (404, "unknown-member")
    assert (await ask(daemon, "GET /presence/nowhere")).json["count"] == 0


@pytest_twisted.ensureDeferred
async def test_heartbeats(start_daemon: Start) -> None:
    reactor = MovableReactor()
    daemon = await start_daemon({"presence.heartbeat_channel": "devices", "presence.heartbeat_ttl": 10}, reactor)
    assert await code_of(daemon, "GET /heartbeat/d1") == (404, "unknown-member")
    sent = (await ask(daemon, "POST /heartbeat/d1?ts=1000")).json
    assert sent["online"]
    assert sent["lag"] > 1e12
    await reactor.pass_time(9)
    assert (await ask(daemon, "POST /heartbeat/d1")).json["lag"] is None
    found = (await ask(daemon, "GET /heartbeat/d1")).json
    assert {key: found[key] for key in ("id", "online", "lag")} == {"id": "d1", "online": True, "lag": sent["lag"]}
    await reactor.pass_time(9)
    assert (await ask(daemon, "GET /heartbeat/d1")).json["online"]
    await reactor.pass_time(2)
    found = (await ask(daemon, "GET /heartbeat/d1")).json
    assert not found["online"]
    assert [event["action"] for event in await events(daemon, "devices")] == ["enter", "leave"]


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        ("PUT /presence/alice", "not-found"),
        ("PUT /presence/c/a?ttl=0", "bad-parameter"),
        ("PUT /presence/c/a?ttl=86401", "bad-parameter"),
        ("PUT /presence/c/a?tll=30", "bad-parameter"),
        ("PUT /presence/$sys/c/a", "forbidden"),
        ("PUT /presence/c/%24a", "bad-member"),
        ("GET /presence/c?count=2", "bad-parameter"),
        ("GET /presence/c?limit=1001", "bad-parameter"),
        ("GET /presence/c?id=a/b", "bad-member"),
        ("GET /presence/$sys/c", "forbidden"),
        ("GET /presence/", "bad-channel"),
        ("POST /heartbeat/", "bad-member"),
        ("POST /heartbeat/a?ts=-1", "bad-parameter"),
        ("POST /pub/$presence/c", "forbidden"),
        ("DELETE /pub/$presence/c", "forbidden"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_invalid_requests_are_refused(daemon: RunningDaemon, request_line: str, code: str) -> None:
    assert (await code_of(daemon, request_line))[1] == code


@pytest_twisted.ensureDeferred
async def test_what_describes_a_member_is_bounded(daemon: RunningDaemon) -> None:
    assert await code_of(daemon, "PUT /presence/c/a", b"{") == (400, "bad-json")
    assert await code_of(daemon, "PUT /presence/c/a", json.dumps("x" * 1023).encode()) == (400, "bad-member")
    assert (await ask(daemon, "PUT /presence/c/a", b" " * 2000 + json.dumps("x" * 1022).encode())).status == 200
    assert (await code_of(daemon, "PUT /presence/c/a", b" " * 5000))[0] == 413


@pytest_twisted.ensureDeferred
async def test_settings(start_daemon: Start) -> None:
    daemon = await start_daemon({"presence.members": 1})
    await ask(daemon, "PUT /presence/c/a")
    assert await code_of(daemon, "PUT /presence/c/b") == (429, "too-many-members")


@pytest_twisted.ensureDeferred
async def test_presence_that_is_switched_off(start_daemon: Start) -> None:
    off = await start_daemon({"presence.disabled": "true"})
    for line in ("PUT /presence/c/b", "GET /presence/c", "GET /sse/c?presence=self", "POST /heartbeat/a"):
        assert await code_of(off, line) == (403, "forbidden")


@pytest_twisted.ensureDeferred
async def test_presence_is_shown_in_connections_and_metrics(daemon: RunningDaemon) -> None:
    client = TextLines(daemon)
    client.open()
    await client.ask("ENTER chat/42 id=alice")
    (connection,) = (await ask(daemon, "GET /connections")).json
    assert connection["presence"] == {"chat/42": "alice"}
    assert await daemon.metric("pushd_members") == 1
    assert await daemon.metric("pushd_member_channels") == 1
    assert await daemon.metric('pushd_member_events_total{action="enter"}') == 1


@pytest_twisted.ensureDeferred
async def test_members_at_two_nodes(start_daemon: Start, one_redis: Any) -> None:
    one_redis.ask("FLUSHALL")
    one, other = [await start_daemon({"backend.url": one_redis.url}) for _ in range(2)]
    for each in (one, other):
        await until_ready(each)
    stream = Sse(other)
    await stream.ask("/sse/$presence/c")
    client = TextLines(one)
    client.open()
    assert await client.ask('ENTER c id=alice {"x":1}') == "ENTER c alice"
    entered = await stream.next()
    assert isinstance(entered, Received)
    assert json.loads(entered.data) == {"action": "enter", "id": "alice", "meta": {"x": 1}, "reason": None}
    listed = (await ask(other, "GET /presence/c")).json
    assert [(each["id"], each["connections"]) for each in listed["members"]] == [("alice", 1)]
    assert (await ask(other, "GET /presence/c/alice")).json["meta"] == {"x": 1}
    await ask(other, "PUT /presence/c/bob")
    assert (await ask(one, "GET /presence/c?count=1")).json["count"] == 2
    assert (await ask(other, "DELETE /presence/c/bob")).status == 200
    assert await code_of(one, "DELETE /presence/c/bob") == (404, "unknown-member")
    assert (await ask(one, "POST /heartbeat/d1?ts=1")).json["online"]
    assert (await ask(other, "GET /heartbeat/d1")).json["lag"] > 0
    await client.ask("QUIT")
    told = [await stream.next() for _ in range(3)]
    assert [each.event for each in told if isinstance(each, Received)][-1] == "presence.leave"
