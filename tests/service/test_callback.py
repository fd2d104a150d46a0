"""The callback of a whole daemon to a real HTTP server, which allows, refuses, hangs and fails."""

import base64
import gzip
import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from pushd.net.outgoing_requests import MAX_BYTES
from tests.authorization.credentials import EVERYTHING, SETUP, Credentials, bearer, subject_of
from tests.backends.conftest import one_redis
from tests.backends.redis_server import RedisServer
from tests.daemon_fixtures import Start, start_daemon
from tests.service.application import Application, application, response, write_callback
from tests.transports.client import Closed, Refused
from tests.transports.daemon import MovableReactor, RunningDaemon, turns, until, until_ready
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import CommandWebSocket

__all__ = ["application", "one_redis", "start_daemon"]

ALICE = "pushd_alice-Zq8vTr2LmXw5Yb7"
COOKIE = {"Cookie": "sessionid=Wv6Za8McJe5"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ISSUER_SECRET = b"a secret of an issuer, 32 bytes or more"


class Scene:
    """A daemon with a token of alice for everything, and with a callback."""

    def __init__(self, folder: Path, application: Application, start: Start) -> None:
        self.application = application
        self.credentials = Credentials(folder)
        self._folder = folder
        self._start = start

    def write(self, anonymous: Any = None, tokens: Any = None, more: str = "", **settings: object) -> None:
        """Write the configuration."""
        self.credentials.write({ALICE: EVERYTHING} if tokens is None else tokens, anonymous)
        with self.credentials.file.open("a") as file:
            file.write(more + write_callback(self._folder, self.application, **settings))

    async def start(self, reactor: MovableReactor | None = None, **settings: Any) -> RunningDaemon:
        """Write the configuration, and start the daemon."""
        self.write(**settings)
        return await self._start({}, reactor, file=self.credentials.file)

    async def start_node(self, settings: dict[str, object]) -> RunningDaemon:
        """Start a daemon with the configuration that is written."""
        return await self._start(settings, file=self.credentials.file)

    def topics(self, action: str) -> list[list[str]]:
        """Return the topics of the questions about an action."""
        return [question["topics"] for question in self.application.of(action)]


@pytest.fixture
def scene(tmp_path: Path, application: Application, start_daemon: Start) -> Scene:
    """A daemon that is not started yet."""
    return Scene(tmp_path, application, start_daemon)


def issue(folder: Path, **claims: object) -> tuple[str, str]:
    """Return a JSON Web Token, and the section of its issuer."""
    secret = folder / "issuer.secret"
    secret.write_bytes(ISSUER_SECRET)
    now = int(time.time())
    rest: dict[str, Any] = {"iss": "shop", "aud": "pushd", "iat": now, "exp": now + 600, **claims}
    token = jwt.encode({"alg": "HS256"}, rest, OctKey.import_key(ISSUER_SECRET))
    section = '[auth.issuer.shop]\nissuer = "shop"\naudience = "pushd"\nalgorithms = ["HS256"]\n'
    return token, section + f"secret_files = [{json.dumps(str(secret))}]\n"


async def open_stream(daemon: RunningDaemon, path: str, headers: dict[str, str]) -> int:
    """Open a stream; return its status."""
    client: HttpClient = daemon.connect("http", HttpClient(encode_request("GET", path, None, headers)))
    return (await client.head).status


# What is asked


async def test_repeated_polls_with_the_same_credential_ask_once(scene: Scene) -> None:
    daemon = await scene.start()
    cursor = (await daemon.request("POST", "/pub/a", b"x", bearer(SETUP))).json["id"]
    scene.application.questions.clear()
    for _ in range(5):
        answer = await daemon.request("GET", f"/longpoll/a?since={cursor}&timeout=0", None, bearer(ALICE))
        assert answer.status == 204
    assert [question["action"] for question in scene.application.questions] == ["connect", "subscribe"]
    assert {question["transport"] for question in scene.application.questions} == {"longpoll"}


async def test_ttl_0_asks_each_time(scene: Scene) -> None:
    daemon = await scene.start()
    scene.application.answer = lambda question: {"allow": True, "ttl": 0}
    for _ in range(3):
        assert (await daemon.request("GET", "/history/a", None, bearer(ALICE))).status == 200
    assert [len(scene.application.of(action)) for action in ("connect", "subscribe")] == [3, 3]


async def test_equal_questions_of_many_streams_are_one_request(scene: Scene) -> None:
    daemon = await scene.start()
    clients = [
        daemon.connect("http", HttpClient(encode_request("GET", "/sse/a", None, bearer(ALICE)))) for _ in range(50)
    ]
    heads = await gatherResults([client.head for client in clients])
    assert {head.status for head in heads} == {200}
    assert [question["action"] for question in scene.application.questions] == ["connect", "subscribe"]


async def test_headers_come_from_the_http_request_only(scene: Scene) -> None:
    daemon = await scene.start(forward_headers=["Cookie", "X-Request-Id"])
    headers = {**bearer(ALICE), **COOKIE, "X-Other": "not forwarded"}
    assert (await daemon.request("POST", "/pub/a", b"x", headers)).status == 202
    websocket = CommandWebSocket(daemon)
    await websocket.open("/ws", COOKIE)
    await websocket.ask(auth=ALICE)
    assert "error" in await websocket.ask(publish="b", data="x", headers={"Cookie": "forged=1"})
    await websocket.ask(publish="b", data="x")
    lines = TextLines(daemon)
    lines.open()
    await lines.ask(f"AUTH {ALICE}")
    await lines.ask("SUB c")
    shown = [(each["transport"], each["action"], each["headers"]) for each in scene.application.questions]
    assert shown == [
        ("http", "connect", COOKIE),
        ("http", "publish", COOKIE),
        ("websocket", "connect", COOKIE),
        ("websocket", "publish", COOKIE),
        ("tcp", "connect", {}),
        ("tcp", "subscribe", {}),
    ]


@pytest.mark.parametrize(
    ("headers", "is_forwarded"),
    [
        ({}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://app.example.org", "Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://evil.example.org"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
async def test_a_cookie_that_a_foreign_page_made_the_browser_send_is_not_forwarded(
    scene: Scene, start_daemon: Start, headers: dict[str, str], is_forwarded: bool
) -> None:
    scene.write(forward_headers=["cookie", "X-Tenant"], actions=["connect"])
    daemon = await start_daemon({"http.allow_origins": "http://app.example.org"}, file=scene.credentials.file)
    await daemon.request("GET", "/history/a", None, {**COOKIE, "X-Tenant": "t", **headers})
    [question] = scene.application.questions
    expected = {"cookie": COOKIE["Cookie"]} if is_forwarded else {}
    assert question["headers"] == {"X-Tenant": "t", **expected}


async def test_the_id_of_a_connection_is_sent_with_its_commands(scene: Scene) -> None:
    daemon = await scene.start()
    websocket = CommandWebSocket(daemon)
    await websocket.open("/ws", bearer(ALICE))
    subscribed = await websocket.ask(subscribe="a")
    await websocket.ask(publish="a", data="x")
    await open_stream(daemon, "/sse/a", bearer(ALICE))
    assert [(each["action"], each["transport"], each["connection"]) for each in scene.application.questions] == [
        ("connect", "websocket", None),
        ("subscribe", "websocket", subscribed["connection"]),
        ("publish", "websocket", subscribed["connection"]),
        ("connect", "sse", None),
        ("subscribe", "sse", None),
    ]


async def test_the_claims_of_a_token_are_sent(scene: Scene, tmp_path: Path) -> None:
    token, section = issue(tmp_path, sub="alice", pushd={"subscribe": ["a"]}, plan="gold")
    daemon = await scene.start(more=section)
    assert (await daemon.request("GET", "/history/a", None, bearer(token))).status == 200
    for question in scene.application.questions:
        assert question["sub"] == "alice"
        assert question["claims"]["plan"] == "gold"
        assert question["claims"]["pushd"] == {"subscribe": ["a"]}


async def test_requests_are_signed_with_both_secrets(scene: Scene, tmp_path: Path) -> None:
    """The application verifies each question with the old one; see `Application`."""
    (tmp_path / "new.secret").write_text(f"whsec_{base64.b64encode(b'n' * 32).decode()}")
    files = [str(tmp_path / "new.secret"), str(tmp_path / "callback.secret")]
    daemon = await scene.start(secret_files=files)
    assert (await daemon.request("GET", "/history/a", None, bearer(ALICE))).status == 200
    head = scene.application.heads[0]
    assert [each[:3] for each in head["webhook-signature"].split()] == ["v1,", "v1,"]


# What follows from the answers


async def test_an_answer_narrows_a_stream_and_the_refusal_names_the_topic(scene: Scene) -> None:
    daemon = await scene.start(actions=["connect"])
    scene.application.answer = lambda question: {"allow": True, "grant": {"subscribe": ["users/{sub}/**"]}}
    own = f"users/{subject_of(ALICE)}/a"
    assert await open_stream(daemon, f"/sse/{own}", bearer(ALICE)) == 200
    refused = await daemon.request("GET", "/sse/news", None, bearer(ALICE))
    assert refused.status == 403
    assert "action subscribe on topic news is not granted" in refused.json["error"]["message"]


async def test_a_batch_is_judged_by_line_and_asked_once_per_channel(scene: Scene) -> None:
    daemon = await scene.start(actions=["publish"])
    scene.application.answer = lambda question: {"allow": question["topics"] != ["b"]}
    lines = [json.dumps({"channel": channel, "data": "x"}) for channel in ["a", "b", "a", "c", "b", "d"] * 100]
    answer = await daemon.request("POST", "/pub", "\n".join(lines).encode(), {**NDJSON, **bearer(ALICE)})
    outcomes = [json.loads(line) for line in answer.body.splitlines()]
    codes = [each.get("error", {}).get("code", "") for each in outcomes]
    assert codes == ["", "forbidden", "", "", "forbidden", ""] * 100
    assert sorted(scene.topics("publish")) == [["a"], ["b"], ["c"], ["d"]]
    assert len((await daemon.request("GET", "/history/**", None, bearer(ALICE))).json) == 400


async def test_a_publish_to_several_channels_is_accepted_or_refused_as_a_whole(scene: Scene) -> None:
    daemon = await scene.start(actions=["publish"])
    scene.application.answer = lambda question: {"allow": True, "grant": {"publish": ["a", "b"]}}
    assert (await daemon.request("POST", "/pub/a,b", b"x", bearer(ALICE))).status == 202
    refused = await daemon.request("POST", "/pub/a,c", b"x", bearer(ALICE))
    assert refused.status == 403
    assert "topic c" in refused.json["error"]["message"]
    assert scene.topics("publish") == [["a", "b"], ["a", "c"]]
    assert len((await daemon.request("GET", "/history/**", None, bearer(ALICE))).json) == 2


@pytest.mark.parametrize("is_batch", [False, True])
async def test_a_repeat_with_an_idempotency_key_is_asked_again(scene: Scene, is_batch: bool) -> None:
    daemon = await scene.start(actions=["publish"])
    path, body = ("/pub", b'{"channel":"a","data":"x"}') if is_batch else ("/pub/a", b"x")
    headers = {**bearer(ALICE), "Idempotency-Key": "k", **(NDJSON if is_batch else {})}
    answers = []
    for is_allowed in (True, True, False, True):
        scene.application.answer = lambda question, allow=is_allowed: {"allow": allow, "ttl": 0}  # type: ignore[misc]
        answer = await daemon.request("POST", path, body, headers)
        answers.append(answer.json.get("id") or answer.json["error"]["code"])
    assert answers[0] == answers[1] == answers[3]
    assert answers[2] == "forbidden"
    assert len(scene.application.questions) == 4
    assert len((await daemon.request("GET", "/history/a", None, bearer(ALICE))).json) == 1


async def test_pipelined_lines_are_judged_one_by_one(scene: Scene) -> None:
    daemon = await scene.start(actions=["publish"])
    scene.application.answer = lambda question: {"allow": question["topics"] != ["b"]}
    lines = TextLines(daemon)
    lines.open()
    await lines.ask(f"AUTH {ALICE}")
    replies = await gatherResults([lines.send(f"PUB {channel} x") for channel in "abca"])
    assert [reply.split()[0] for reply in replies] == ["+OK", "-ERR", "+OK", "+OK"]
    assert sorted(scene.topics("publish")) == [["a"], ["b"], ["c"]]


async def test_a_peer_of_lines_is_asked_about_at_its_first_command_that_needs_a_grant(scene: Scene) -> None:
    daemon = await scene.start()
    lines = TextLines(daemon)
    lines.open()
    assert await lines.send("PING") == "PONG"
    assert not scene.application.questions
    scene.application.answer = lambda question: {"allow": question["sub"] is not None, "ttl": 0}
    with pytest.raises(Refused, match="forbidden"):
        await lines.ask("SUB a")
    scene.application.answer = lambda question: {"allow": True, "grant": {"subscribe": ["a"], "publish": ["a"]}}
    assert (await lines.ask("SUB a")).startswith("SUB a")
    assert await lines.ask("PUB a x")
    with pytest.raises(Refused, match="forbidden"):
        await lines.ask("SUB b")
    assert [each["sub"] for each in scene.application.of("connect")] == [None, None]
    await lines.ask(f"AUTH {ALICE}")
    assert scene.application.of("connect")[-1]["sub"] == subject_of(ALICE)


async def test_a_refused_auth_changes_nothing(scene: Scene) -> None:
    daemon = await scene.start(anonymous={"subscribe": ["public"]}, actions=["connect"])
    scene.application.answer = lambda question: {"allow": question["sub"] is None}
    lines, websocket = TextLines(daemon), CommandWebSocket(daemon)
    lines.open()
    await websocket.open("/ws")
    await lines.ask("SUB public")
    assert (await websocket.ask(subscribe="public"))["ok"]
    with pytest.raises(Refused, match="forbidden"):
        await lines.ask(f"AUTH {ALICE}")
    assert (await websocket.ask(auth=ALICE))["error"]["code"] == "forbidden"
    assert len(daemon.subscribers("public")) == 2
    assert all(each.peer.identity is None for each in daemon.subscribers("public"))


@pytest.mark.parametrize("way", ["command", "request"])
async def test_a_renewal_asks_again_and_drops_topics(scene: Scene, tmp_path: Path, way: str) -> None:
    tokens = [issue(tmp_path, sub="alice", jti=jti, pushd={"subscribe": ["**"]}) for jti in ("1", "2", "3")]
    daemon = await scene.start(more=tokens[0][1], actions=["connect"])
    websocket = CommandWebSocket(daemon)
    await websocket.open("/ws", bearer(tokens[0][0]))
    connection = (await websocket.ask(subscribe="a"))["connection"]
    await websocket.ask(subscribe="b")

    async def renew(token: str) -> str:
        if way == "command":
            answer = await websocket.ask(auth=token)
            return str(answer["error"]["code"] if "error" in answer else "")
        answered = await daemon.request("POST", f"/connections/{connection}/auth", None, bearer(token))
        return str(answered.json["error"]["code"] if answered.status != 200 else "")

    scene.application.answer = lambda question: {"allow": False}
    assert await renew(tokens[1][0]) == "forbidden"
    assert len(daemon.subscribers("a")) == len(daemon.subscribers("b")) == 1
    scene.application.answer = lambda question: {"allow": True, "grant": {"subscribe": ["b"]}}
    assert await renew(tokens[2][0]) == ""
    assert (len(daemon.subscribers("a")), len(daemon.subscribers("b"))) == (0, 1)
    assert (await websocket.ask(subscribe="a"))["error"]["code"] == "forbidden"


async def test_a_quota_in_an_answer_counts(scene: Scene) -> None:
    daemon = await scene.start(actions=["connect"])
    grant = {"subscribe": ["**"], "quota": {"connections": 2}}
    scene.application.answer = lambda question: {"allow": True, "grant": grant}
    for headers in (bearer(ALICE), {}):
        assert [await open_stream(daemon, "/stream/a", headers) for _ in range(3)] == [200, 200, 429]
    lines = TextLines(daemon)
    lines.open()
    with pytest.raises(Refused, match="too-many-connections"):
        await lines.ask("SUB a")


async def test_a_token_that_is_revoked_while_the_application_is_asked_is_refused(scene: Scene) -> None:
    daemon = await scene.start()
    scene.application.answer = lambda question: {"allow": True} if question["sub"] == subject_of(SETUP) else None
    asking = Deferred.fromCoroutine(daemon.request("GET", "/history/a", None, bearer(ALICE)))
    await until(lambda: scene.application.unanswered, "the question")
    revoked = json.dumps({"sub": subject_of(ALICE)}).encode()
    assert (await daemon.request("POST", "/auth/revocations", revoked, bearer(SETUP))).status == 201
    scene.application.unanswered[0].write(response(b'{"allow":true}'))
    assert (await asking).json["error"]["code"] == "token-revoked"


async def test_a_token_that_is_removed_while_the_application_is_asked_is_refused(scene: Scene) -> None:
    daemon = await scene.start()
    scene.application.answer = lambda question: None
    asking = Deferred.fromCoroutine(daemon.request("GET", "/history/a", None, bearer(ALICE)))
    await until(lambda: scene.application.unanswered, "the question")
    scene.write(tokens={})
    await daemon.reload()
    scene.application.unanswered[0].write(response(b'{"allow":true}'))
    assert (await asking).json["error"]["code"] == "token-invalid"


async def test_a_client_that_disconnects_while_the_application_is_asked(scene: Scene) -> None:
    daemon = await scene.start()
    scene.application.answer = lambda question: None
    clients = [
        daemon.connect("http", HttpClient(encode_request("GET", path, None, bearer(ALICE))))
        for path in ("/sse/a", "/longpoll/a", "/history/a")
    ]
    await until(lambda: len(scene.application.unanswered) == 3, "the questions")
    for client in clients:
        client.transport.abortConnection()
    await until(lambda: not daemon.open_connections, "the end of the connections")
    for transport in scene.application.unanswered:
        transport.write(response(b'{"allow":true}'))
    await turns()
    assert not daemon.subscribers("a")


# Reload


async def test_a_reload_keeps_what_was_answered(scene: Scene) -> None:
    daemon = await scene.start()
    scene.application.answer = lambda question: {
        "allow": True,
        "grant": {"subscribe": ["a"]} if question["sub"] else {"subscribe": question["topics"]},
    }
    await open_stream(daemon, "/stream/a", bearer(ALICE))
    await open_stream(daemon, "/sse/b", {})
    lines, idle = TextLines(daemon), TextLines(daemon)
    lines.open()
    for topic in ("c", "d"):
        await lines.ask(f"SUB {topic}")
    idle.open()
    assert await idle.send("PING") == "PONG"
    await daemon.reload()
    assert [len(daemon.subscribers(topic)) for topic in "abcd"] == [1, 1, 1, 1]
    assert not daemon.subscribers("a")[0].peer.grant.may("subscribe", "other")
    await idle.ask("SUB e")
    scene.write(tokens={ALICE: {"subscribe": ["other"]}})
    await daemon.reload()
    assert [len(daemon.subscribers(topic)) for topic in "abcde"] == [0, 1, 1, 1, 1]


async def test_a_reload_switches_the_callback_on_and_off(scene: Scene) -> None:
    daemon = await scene.start(anonymous={"subscribe": ["**"]}, actions=["publish"])
    lines, waiting = TextLines(daemon), TextLines(daemon)
    lines.open()
    await lines.ask("SUB a")
    assert not scene.application.questions
    scene.write(anonymous={"subscribe": ["**"]})
    await daemon.reload()
    assert len(daemon.subscribers("a")) == 1
    waiting.open()
    assert await waiting.send("PING") == "PONG"
    await lines.ask("SUB b")
    assert [each["action"] for each in scene.application.questions] == ["subscribe"]
    scene.credentials.write({ALICE: EVERYTHING}, {"subscribe": ["**"]})
    await daemon.reload()
    await waiting.ask("SUB c")
    await lines.ask("SUB d")
    assert len(scene.application.questions) == 1


async def test_a_secret_that_cannot_be_read_at_a_reload_is_kept(scene: Scene, tmp_path: Path) -> None:
    daemon = await scene.start()
    (tmp_path / "callback.secret").write_text("whsec_")
    await daemon.reload()
    assert [line for line in daemon.log if "secret must have 24 to 64 bytes" in line]
    assert (await daemon.request("GET", "/history/a", None, bearer(ALICE))).status == 200


# Failures


FAILURES = [
    (response(b"", "500 Error"), False, "the response has the status 500"),
    (response(b'{"allow":true}', "403 Forbidden"), False, "the response has the status 403"),
    (response(b'{"allow":true}', "201 Created"), False, "the response has the status 201"),
    (
        response(b'{"allow":true}', "307 Moved", "Location: /pushd/callback"),
        False,
        "the response has the status 307 (redirects are not followed)",
    ),
    (response(b'{"allow":true}' + b" " * MAX_BYTES), False, f"the response exceeds {MAX_BYTES} bytes"),
    (response(gzip.compress(b'{"allow":true}'), "200 OK", "Content-Encoding: gzip"), False, "compressed"),
    (response(b"<html>"), False, "the answer is not of the expected form"),
    (response(b'{"allow":true,"grant":{"subscribe":["a//b"]}}'), False, "the answer is not of the expected form"),
    (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"allow":true}', True, "connection was lost"),
    (b"SSH-2.0-x\r\n", True, ""),
    (b"", True, ""),
    (None, False, "no complete response within 3 seconds"),
]


@pytest.mark.parametrize(("answer", "closes", "reason"), FAILURES, ids=range(len(FAILURES)))
async def test_a_failure_refuses(scene: Scene, answer: Any, closes: bool, reason: str) -> None:
    events: list[str] = []

    def watch(event: LogEvent) -> None:
        events.append(f"{formatEvent(event)} {event!r}")

    untyped: Any = watch
    # Only who does not answer is waited for: a busy machine may need long for the others.
    daemon = await scene.start(timeout=10 if answer is not None else 3, forward_headers=["Cookie"])
    scene.application.answer, scene.application.closes = (lambda question: answer), closes
    globalLogPublisher.addObserver(untyped)
    try:
        refused = await daemon.request("GET", "/history/a", None, {**bearer(ALICE), **COOKIE})
    finally:
        globalLogPublisher.removeObserver(untyped)
    assert (refused.status, refused.json["error"]["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"
    ready = await daemon.request("GET", "/health/ready")
    assert ready.status == 200
    [degraded] = ready.json["degraded"]
    assert reason in degraded
    assert len([line for line in daemon.log if line.startswith("Callback: a request")]) == 1
    assert not [event for event in events if "factory" in event]
    assert not [event for event in events if COOKIE["Cookie"].partition("=")[2] in event or ALICE in event]
    scene.application.answer, scene.application.closes = (lambda question: {"allow": True}), False
    assert (await daemon.request("GET", "/history/a", None, bearer(ALICE))).status == 200
    assert "degraded" not in (await daemon.request("GET", "/health/ready")).json


async def test_the_circuit_breaker_bounds_the_requests(scene: Scene) -> None:
    daemon = await scene.start(MovableReactor())
    scene.application.answer = lambda question: response(b"", "500 Error")
    for _ in range(20):
        refused = await daemon.request("GET", "/history/a", None, bearer(ALICE))
        assert refused.status == 503
    assert len(scene.application.questions) == 5
    assert int(refused.headers["retry-after"]) in (4, 5)
    assert [line for line in daemon.log if "5 requests to the application failed in a row" in line]


async def test_a_stopped_application(scene: Scene) -> None:
    daemon = await scene.start()
    await scene.application.port.stopListening()
    refused = await daemon.request("GET", "/history/a", None, bearer(ALICE))
    assert (refused.status, refused.json["error"]["code"]) == (503, "unavailable")
    scene.application.start()


async def test_an_event_source_tries_again_later(scene: Scene) -> None:
    daemon = await scene.start()
    scene.application.answer = lambda question: response(b"", "500 Error")
    answer = await daemon.request("GET", "/sse/a", None, bearer(ALICE))
    assert answer.status == 200
    assert b"retry: " in answer.body
    assert b"event:" not in answer.body


async def test_a_callback_that_hangs_delays_only_those_who_wait_for_it(scene: Scene) -> None:
    daemon = await scene.start(actions=["publish"])
    scene.application.answer = lambda question: {"allow": True} if question["topics"] == ["fast"] else None
    await open_stream(daemon, "/stream/fast", bearer(ALICE))
    waiting = [
        Deferred.fromCoroutine(daemon.request("POST", f"/pub/slow/{number}", b"x", bearer(ALICE)))
        for number in range(20)
    ]
    await until(lambda: len(scene.application.unanswered) == 20, "the questions")
    times = []
    for _ in range(100):
        start = time.perf_counter()
        assert (await daemon.request("POST", "/pub/fast", b"x", bearer(ALICE))).status == 201
        times.append(time.perf_counter() - start)
    assert not any(each.called for each in waiting)
    assert statistics.median(times) < 0.5
    for transport in scene.application.unanswered:
        transport.write(response(b'{"allow":true}'))
    assert [answer.status for answer in await gatherResults(waiting)] == [202] * 20


async def test_metrics(scene: Scene) -> None:
    daemon = await scene.start()
    headers = bearer(ALICE)
    await daemon.request("GET", "/history/a", None, headers)
    await daemon.request("GET", "/history/a", None, headers)
    scene.application.answer = lambda question: {"allow": False}
    await daemon.request("GET", "/history/b", None, headers)
    scene.application.answer = lambda question: response(b"", "500 Error")
    await daemon.request("GET", "/history/c", None, headers)
    text = (await daemon.request("GET", "/metrics", None, headers)).body.decode()
    assert 'pushd_callback_requests_total{outcome="allowed"} 2.0' in text
    assert 'pushd_callback_requests_total{outcome="denied"} 1.0' in text
    assert 'pushd_callback_requests_total{outcome="status"} 1.0' in text
    assert 'pushd_callback_questions_total{answered_by="cache"} 4.0' in text
    assert 'pushd_callback_questions_total{answered_by="unavailable"} 1.0' in text
    assert "pushd_callback_seconds_count 4.0" in text
    assert subject_of(ALICE) not in text


async def test_metrics_are_answered_to_a_token_while_the_application_fails(scene: Scene) -> None:
    daemon = await scene.start()
    scene.application.answer = lambda question: response(b"", "500 Error")
    assert (await daemon.request("GET", "/metrics", None, bearer(ALICE))).status == 200
    assert (await daemon.request("GET", "/metrics")).status == 503


async def test_refusals_by_the_application_are_in_the_audit_log(scene: Scene, tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    daemon = await scene.start(more=f"[log]\naudit = {json.dumps(str(audit))}\n")
    scene.application.answer = lambda question: {"allow": question["action"] == "connect", "ttl": 0}
    for method, path in (("GET", "/sse/a"), ("POST", "/pub/b")):
        body = b"x" if method == "POST" else None
        assert (await daemon.request(method, path, body, bearer(ALICE))).status == 403
    websocket, lines = CommandWebSocket(daemon), TextLines(daemon)
    await websocket.open("/ws", bearer(ALICE))
    assert (await websocket.ask(subscribe="a"))["error"]["code"] == "forbidden"
    assert (await websocket.ask(publish="b", data=1))["error"]["code"] == "forbidden"
    lines.open()
    await lines.ask(f"AUTH {ALICE}")
    for command in ("SUB a", "PUB b x"):
        with pytest.raises(Refused, match="forbidden"):
            await lines.ask(command)
    scene.application.answer = lambda question: {"allow": False, "ttl": 0}
    assert (await daemon.request("GET", "/history/a", None, bearer(ALICE))).status == 403
    refused_websocket, refused_lines = CommandWebSocket(daemon), TextLines(daemon)
    await refused_websocket.open("/ws", bearer(ALICE))
    assert await refused_websocket.next() == Closed(4403, True)
    refused_lines.open()
    with pytest.raises(Refused, match="forbidden"):
        await refused_lines.ask(f"AUTH {ALICE}")
    records = [json.loads(line) for line in audit.read_text().splitlines()]
    assert {(each["event"], each["code"], each["sub"], each["count"]) for each in records} == {
        ("refused", "forbidden", subject_of(ALICE), 1)
    }
    assert sorted((each["transport"], each["action"], each["topic"]) for each in records) == sorted(
        (transport, *each)
        for transport in ("http", "tcp", "websocket")
        for each in (("subscribe", "a"), ("publish", "b"), ("connect", None))
    )


async def test_a_revocation_removes_the_answers_about_the_subject_at_all_nodes(
    scene: Scene, tmp_path: Path, one_redis: RedisServer
) -> None:
    one_redis.ask("FLUSHALL")
    grant = {"publish": ["**"]}
    (token, section), (other, _) = (issue(tmp_path, sub=subject, pushd=grant) for subject in ("alice", "bob"))
    scene.write(more=section, actions=["publish"])
    nodes = [await scene.start_node({"backend.url": one_redis.url}) for _ in range(2)]
    for node in nodes:
        await until_ready(node)
    scene.application.answer = lambda question: {"allow": True, "ttl": 3600}

    async def publish_everywhere() -> list[str]:
        scene.application.questions.clear()
        for node in nodes * 2:
            for credential in (token, other):
                assert (await node.request("POST", "/pub/a", b"x", bearer(credential))).status == 202
        return [question["sub"] for question in scene.application.questions]

    assert await publish_everywhere() == ["alice", "bob"] * 2
    assert await publish_everywhere() == []
    revocation = json.dumps({"sub": "alice", "before": int(time.time()) - 3600}).encode()
    assert (await nodes[0].request("POST", "/auth/revocations", revocation, bearer(SETUP))).status == 201
    while not (await nodes[1].request("GET", "/auth/revocations", None, bearer(SETUP))).json:
        await turns()
    assert await publish_everywhere() == ["alice"] * 2
