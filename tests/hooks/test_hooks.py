"""Hooks of a whole daemon, with a receiver that confirms, fails, hangs, is gone, redirects and closes in the middle."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.authorization.credentials import SETUP, Credentials, bearer
from tests.backends.redis_server import free_port
from tests.daemon_fixtures import Start, start_daemon
from tests.hooks.receiver import CUT, OK, Receiver, receiver, status
from tests.transports.daemon import MovableReactor, RunningDaemon, turns, until
from tests.transports.http_client import HttpClient, encode_request

__all__ = ["receiver", "start_daemon"]


OPERATOR = "operator-Yc4nTq7XwKs2"
_SECONDS = 30.0


class Scene:
    """A daemon with a hook."""

    def __init__(self, folder: Path, receiver: Receiver, start: Start, backend: dict[str, object]) -> None:
        self._folder = folder
        self._backend = backend
        self._start = start
        self.receiver = receiver
        self.reactor = MovableReactor()
        self.file = folder / "pushd.toml"
        self._next_second = 0.0

    def write(self, *events: str, **settings: Any) -> None:
        """Write the configuration."""
        self.file.write_text(self.receiver.section(self._folder, **settings, events=list(events)))

    async def start(self, *events: str, more: dict[str, object] | None = None, **settings: Any) -> RunningDaemon:
        """Start the daemon."""
        self.write(*events, **settings)
        return await self._start(self._backend | (more or {}), self.reactor, self.file)

    async def until_received(self, count: int, *kinds: str) -> list[dict[str, Any]]:
        """Wait until some events are confirmed; return all of them, without repeats."""
        receiver = self.receiver

        def found() -> list[dict[str, Any]]:
            return [event for event in receiver.once() if not kinds or event["type"] in kinds]

        await self.until(lambda: len(found()) >= count, f"{count} events")
        return found()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds, while the clock of the daemon goes on."""
        deadline = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"not within {_SECONDS} s: {what}"
            await turns()
            if time.monotonic() >= self._next_second:  # a second is much longer than a request takes
                self._next_second = time.monotonic() + 0.02
                await self.reactor.pass_time(1)


@pytest.fixture(params=["memory", "sqlite"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, receiver: Receiver, start_daemon: Start) -> Scene:
    """A daemon with each backend, which is not started yet."""
    backend = {"sqlite": {"backend.data_dir": str(tmp_path / "data")}}.get(request.param, {})
    return Scene(tmp_path, receiver, start_daemon, dict(backend))


async def open_stream(daemon: RunningDaemon, path: str) -> HttpClient:
    """Open a stream."""
    client: HttpClient = daemon.connect("http", HttpClient(encode_request("GET", path, None, {})))
    assert (await client.head).status == 200
    return client


# Events


async def test_connection_and_its_subscriptions(scene: Scene) -> None:
    daemon = await scene.start("connect", "disconnect", "subscribe", "unsubscribe")
    client = await open_stream(daemon, "/sse/room,news/**")
    client.transport.abortConnection()
    events = await scene.until_received(6)
    assert [(event["type"], event.get("channel")) for event in events] == [
        ("connect", None),
        ("subscribe", "room"),
        ("subscribe", "news/**"),
        ("unsubscribe", "room"),
        ("unsubscribe", "news/**"),
        ("disconnect", None),
    ]
    assert len({event["connection"] for event in events}) == 1
    assert events[-1]["reason"] == "client"
    assert all(event["time"] > 0 for event in events)
    assert scene.receiver.batches[0]["hook"] == "app"


async def test_channels_select_events(scene: Scene) -> None:
    daemon = await scene.start("subscribe", "publish", channels=["chat/*", "news/**"])
    await open_stream(daemon, "/sse/room,chat/1,news/a/*,**")
    for channel in ("room", "chat/1", "chat/1/2", "news/x"):
        await daemon.publish(channel)
    events = await scene.until_received(4)
    assert [(event["type"], event["channel"]) for event in events] == [
        ("subscribe", "chat/1"),
        ("subscribe", "news/a/*"),
        ("publish", "chat/1"),
        ("publish", "news/x"),
    ]


async def test_publish_with_and_without_content(scene: Scene) -> None:
    daemon = await scene.start("publish")
    id = await daemon.publish("room", '{"a":1}', "application/json")
    ((event),) = await scene.until_received(1)
    assert event["message"] == {"id": id}
    scene.write("publish", content=True)
    await daemon.reload()
    await daemon.publish("room", '{"a":2}', "application/json")
    event = (await scene.until_received(2))[-1]
    assert event["message"]["data"] == {"a": 2}


async def test_first_and_last_subscriber(scene: Scene) -> None:
    daemon = await scene.start("occupied", "vacated")
    first, second = await open_stream(daemon, "/sse/room"), await open_stream(daemon, "/sse/room,all/*")
    await scene.until_received(1)
    first.transport.abortConnection()
    await turns()
    second.transport.abortConnection()
    await until(lambda: not daemon.open_connections, "no connections")
    await scene.reactor.pass_time(2)
    third = await open_stream(daemon, "/sse/room")  # within three seconds: nothing was reported
    await scene.reactor.pass_time(10)
    assert [event["type"] for event in scene.receiver.events] == ["occupied"]
    third.transport.abortConnection()
    events = await scene.until_received(2)
    assert [(event["type"], event["channel"]) for event in events] == [("occupied", "room"), ("vacated", "room")]
    await open_stream(daemon, "/sse/room")
    assert (await scene.until_received(3))[-1]["type"] == "occupied"


async def test_members(scene: Scene) -> None:
    daemon = await scene.start("enter", "leave", channels=["room"])
    for channel in ("room", "other"):
        await daemon.request("PUT", f"/presence/{channel}/alice?ttl=60", b'{"x":1}')
        await daemon.request("PUT", f"/presence/{channel}/alice?ttl=60", b'{"x":2}')
        await daemon.request("DELETE", f"/presence/{channel}/alice")
    events = await scene.until_received(2)
    facts = [(event["type"], event["channel"], event["member"], event.get("reason")) for event in events]
    assert facts == [("enter", "room", "alice", None), ("leave", "room", "alice", "client")]
    assert len({event["id"] for event in events}) == 2


async def test_many_members_at_once(scene: Scene) -> None:
    daemon = await scene.start("enter")
    for number in range(150):
        await daemon.request("PUT", f"/presence/room/m{number}?ttl=600", b"")
    events = await scene.until_received(150)
    assert {event["member"] for event in events} == {f"m{number}" for number in range(150)}
    assert max(len(batch["events"]) for batch in scene.receiver.batches) <= 100


async def test_kicked_and_shutdown(scene: Scene) -> None:
    daemon = await scene.start("disconnect")
    await open_stream(daemon, "/sse/room")
    (connection,) = (await daemon.request("GET", "/connections")).json
    await daemon.request("DELETE", f"/connections/{connection['id']}")
    (event,) = await scene.until_received(1)
    assert (event["connection"], event["reason"]) == (connection["id"], "kicked")


async def test_no_hook_costs_no_event(scene: Scene) -> None:
    daemon = await scene.start("vacated")
    await open_stream(daemon, "/sse/room")
    await daemon.publish("room")
    await scene.reactor.pass_time(5)
    assert scene.receiver.batches == []
    assert await daemon.metric('pushd_hook_backlog{hook="app"}') == 0


# Delivery


async def test_batches_of_at_most_100_in_order_one_at_a_time(scene: Scene) -> None:
    daemon = await scene.start("publish")
    ids = await daemon.publish_all(*((f"room/{number % 7}", str(number)) for number in range(450)))
    events = await scene.until_received(450)
    assert [event["message"]["id"] for event in events] == ids
    assert max(len(batch["events"]) for batch in scene.receiver.batches) == 100
    assert scene.receiver.most == 1
    assert await daemon.metric('pushd_hook_sent_total{hook="app"}') == 450


ANSWERS: dict[str, bytes | None] = {
    "400": status(400),
    "500": status(500),
    "301": status(301, "Location: http://127.0.0.1:1/"),
    "307": status(307, "Location: /pushd/hooks"),
    "cut": CUT,
    "hang": None,
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_every_event_arrives_after_failures(scene: Scene, kind: str) -> None:
    daemon = await scene.start("publish")
    answers = [ANSWERS[kind]] * 3
    scene.receiver.answer = lambda batch: answers.pop() if answers else OK
    ids = [await daemon.publish("room", str(number)) for number in range(5)]
    events = await scene.until_received(5)
    assert [event["message"]["id"] for event in events] == ids
    assert scene.receiver.most == 1
    assert len({head["webhook-id"] for head in scene.receiver.heads[:4]}) == 1
    assert scene.receiver.batches[0] == scene.receiver.batches[3]
    assert scene.receiver.batches[0]["events"][0]["message"]["id"] == ids[0]


async def test_each_attempt_has_a_new_timestamp(scene: Scene) -> None:
    daemon = await scene.start("publish")
    answers = [status(429, "Retry-After: 2")]
    scene.receiver.answer = lambda batch: answers.pop() if answers else OK
    await daemon.publish("room")
    await until(lambda: scene.receiver.heads, "the first attempt")
    await scene.until_received(1)
    first, second = scene.receiver.heads
    assert first["webhook-id"] == second["webhook-id"]
    assert int(first["webhook-timestamp"]) <= int(second["webhook-timestamp"])


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_is_honoured(scene: Scene, code: int) -> None:
    daemon = await scene.start("publish")
    answers = [status(code, "Retry-After: 100")]
    scene.receiver.answer = lambda batch: answers.pop() if answers else OK
    await daemon.publish("room")
    await until(lambda: scene.receiver.heads, "the first attempt")
    await turns()
    await scene.reactor.pass_time(98)
    await daemon.publish("room")
    await turns()
    assert len(scene.receiver.batches) == 1
    await scene.reactor.pass_time(3)
    await scene.until_received(2)


async def test_receiver_that_is_down(scene: Scene) -> None:
    await scene.receiver.stop()
    port = free_port()
    scene.receiver.start(port)
    daemon = await scene.start("publish")
    await scene.receiver.stop()
    ids = [await daemon.publish("room", str(number)) for number in range(3)]
    await scene.until(lambda: sum(daemon.counters.hook_requests.values()) >= 3, "three attempts")
    scene.receiver.start(port)
    events = await scene.until_received(3)
    assert [event["message"]["id"] for event in events] == ids


async def test_receiver_that_is_gone_is_disabled_until_a_reload(scene: Scene) -> None:
    daemon = await scene.start("publish")
    scene.receiver.answer = lambda batch: status(410)
    await daemon.publish("room")
    await until(lambda: scene.receiver.batches, "the first attempt")
    await scene.reactor.pass_time(1000)
    assert len(scene.receiver.batches) == 1
    assert "hook app is disabled" in str((await daemon.request("GET", "/health/ready")).json["degraded"])
    scene.receiver.answer = lambda batch: OK
    await daemon.publish("room")
    await scene.reactor.pass_time(10)
    assert len(scene.receiver.batches) == 1
    await daemon.reload()
    await scene.until_received(2)


async def test_slow_receiver_delays_no_publish(scene: Scene) -> None:
    daemon = await scene.start("publish")
    scene.receiver.answer = lambda batch: None
    for number in range(50):
        await daemon.publish("room", str(number))
    assert len(scene.receiver.batches) == 1


async def test_removed_hook_is_stopped_and_another_one_started(scene: Scene, tmp_path: Path) -> None:
    daemon = await scene.start("publish")
    scene.receiver.answer = lambda batch: None
    await daemon.publish("room")
    await until(lambda: scene.receiver.batches, "the first attempt")
    scene.file.write_text(scene.receiver.section(tmp_path, "other", events=["publish"]))
    scene.receiver.answer = lambda batch: OK
    await daemon.reload()
    await until(lambda: not scene.receiver.under_way, "the request is cancelled")
    await daemon.publish("room")
    await scene.until_received(1)
    assert [batch["hook"] for batch in scene.receiver.batches] == ["app", "other"]


async def test_two_secrets(scene: Scene) -> None:
    from tests.hooks.receiver import SECRET

    scene.receiver.secrets = [SECRET, "whsec_" + "QUJD" * 10]
    daemon = await scene.start("publish")
    await daemon.publish("room")
    await scene.until_received(1)


async def test_shutdown_stores_the_last_events(scene: Scene) -> None:
    daemon = await scene.start("disconnect")
    await open_stream(daemon, "/sse/room")
    recorded: list[Any] = []
    outbox = daemon._service.hub._backend.hooks
    add = outbox.add

    async def record(events: Any) -> None:
        recorded.extend(events)
        await add(events)

    outbox.add = record
    await daemon.stop()
    assert [json.loads(event.body)["reason"] for event in recorded] == ["shutdown"]


# Operators


async def test_hooks_and_their_state(scene: Scene) -> None:
    daemon = await scene.start("publish", channels=["a/*"])
    (shown,) = (await daemon.request("GET", "/hooks")).json
    assert shown == (await daemon.request("GET", "/hooks/app")).json
    assert (shown["name"], shown["url"], shown["events"]) == ("app", scene.receiver.url, ["publish"])
    assert (shown["channels"], shown["content"], shown["failure"]) == (["a/*"], False, None)
    assert (shown["backlog"], shown["oldest"], shown["dead"]) == (0, None, 0)
    scene.receiver.answer = lambda batch: status(429, "Retry-After: 1000")
    await daemon.publish("a/b")
    await scene.until(lambda: daemon.counters.hook_requests["app", "status"], "a failure")
    shown = (await daemon.request("GET", "/hooks/app")).json
    assert (shown["state"], shown["failures"], shown["backlog"]) == ("retrying", 1, 1)
    assert shown["failure"] == "the response has the status 429"
    assert shown["retry_at"] - shown["oldest"] >= 900
    for path in ("/hooks/none", "/hooks/app/replay", "/hooks/app/x"):
        assert (await daemon.request("GET", path)).status == 404
    for path in ("/hooks", "/hooks/app", "/hooks/none/replay"):
        assert (await daemon.request("POST", path, b"")).status == 404


async def test_replay_sends_dead_letters_and_ends_a_pause(scene: Scene) -> None:
    daemon = await scene.start("publish", "subscribe")
    scene.receiver.answer = lambda batch: status(410)
    ids = [await daemon.publish("room", str(number)) for number in range(3)]
    await scene.until(lambda: "app" in str(daemon._service.hub.degraded), "disabled")
    outbox = daemon._service.hub._backend.hooks
    (*_, last) = await outbox.first("app", 100, 1 << 20)
    await outbox.dead_letter("app", last.number, "age")
    letters = (await daemon.request("GET", "/history/$hooks/dead/app")).json
    assert [letter["data"]["event"]["message"]["id"] for letter in letters] == ids
    scene.receiver.answer = lambda batch: OK
    scene.receiver.batches.clear()
    answer = (await daemon.request("POST", "/hooks/app/replay", b"")).json
    assert (answer["hook"], answer["replayed"]) == ("app", 3)
    events = await scene.until_received(3)
    assert [event["message"]["id"] for event in events] == ids
    again = (await daemon.request("POST", f"/hooks/app/replay?since={answer['cursor']}", b"")).json
    assert again["replayed"] == 0


async def test_dead_letters_are_for_operators(start_daemon: Start, tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    credentials.write({OPERATOR: {"operate": ["hooks"]}, SETUP: {"subscribe": ["**"], "operate": ["metrics"]}})
    daemon = await start_daemon({}, file=credentials.file)
    for path in ("/history/$hooks/dead/app", "/history/$hooks/**", "/sse/$hooks/dead/app"):
        client: HttpClient = daemon.connect("http", HttpClient(encode_request("GET", path, None, bearer(OPERATOR))))
        assert (await client.head).status == 200
        for token in (SETUP, None):
            assert (await daemon.request("GET", path, None, bearer(token))).status in (401, 403)
    for token in (OPERATOR, SETUP):
        assert (await daemon.request("POST", "/pub/$hooks/dead/app", b"x", bearer(token))).status == 403
