"""Each request has one response and each message is stored once, directly and through proxies that pool connections.

FRAMING_STREAMS is the number of direct streams (a third as many through each proxy), FRAMING_SEED the seed.
"""

import base64
import json
import os
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, NamedTuple, Self

import pytest

from tests.daemon.clients import SECONDS, Http
from tests.daemon.real import Daemon
from tests.system.apache import Apache
from tests.system.conversations import Conversation, converse
from tests.system.framing_rules import SECRET, TOKEN, Kept, expect, faults
from tests.system.haproxy import HAProxy
from tests.system.nginx import Nginx
from tests.system.proxies import documented
from tests.system.request_streams import ENDED, Generator

pytestmark = [pytest.mark.system, pytest.mark.slow]

STREAMS: Final = int(os.environ.get("FRAMING_STREAMS", "4500"))
SEED: Final = os.environ.get("FRAMING_SEED", "1")
ROUTES: Final = ("direct", "nginx", "haproxy", "apache")
_AT_ONCE: Final = 6
"""Connections per thread, which send alternately."""
_THREADS: Final = 4
_SHOWN: Final = 5
"""The maximum number of failed streams that are reported."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon behind all routes, with a channel that has ended."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"), "--limits-channels", "1000000")
    try:
        daemon.publish(f"{ENDED}?end=1", b"last")
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


@pytest.fixture(params=ROUTES)
def route(
    request: pytest.FixtureRequest, daemon: Daemon, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Route"]:
    """The routes to the daemon: directly, and through each proxy of docs/proxies.md, which pools connections."""
    name, directory, here = request.param, tmp_path_factory.mktemp(request.param), f"127.0.0.1:{daemon.http_port}"
    with ExitStack() as stack:
        match name:
            case "nginx":
                upstream = f"upstream pushd {{ server {here}; keepalive 16; }}\n"
                map_, server, *_ = documented("nginx")
                proxy: Any = Nginx(directory, {"www": server.replace("127.0.0.1:8080", "pushd")}, upstream + map_)
            case "haproxy":
                config = documented("haproxy")[0].replace("127.0.0.1:8080", here)
                proxy = HAProxy(directory, config.replace("defaults\n", "defaults\n    http-reuse always\n"))
            case "apache":
                proxy = Apache(directory, documented("apache")[0].replace("127.0.0.1:8080", here))
            case _:
                yield Route(name, daemon.http_port)
                return
        stack.callback(proxy.stop)
        yield Route(name, proxy.ports["www"])


class Route(NamedTuple):
    """A route to the daemon."""

    name: str
    port: int


class Bystander:
    """A client with credentials that sends valid requests meanwhile, and must not be affected by the others."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.published: dict[str, bytes] = {}
        """Data by id."""
        self.failure = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_stopping.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        try:
            while not self._is_stopping.is_set():
                with Http(self._route.port) as http:
                    while not self._is_stopping.is_set() and self._send_round(http, number):
                        number += 1
                    number += 1
        except Exception as failure:  # raised again by the test, since this is a thread
            self.failure = f"the bystander's round {number} failed: {failure!r}"

    def _send_round(self, http: Http, number: int) -> bool:
        """Send a round of requests; return whether the connection stays open."""
        channel, body = f"by/{self._route.name}/{number}", f"bystander {number}".encode()
        headers = {"Authorization": f"Bearer {SECRET}{number}"}
        answer = http.request("POST", f"/pub/{channel}", headers, body)
        receipt = answer.json()
        assert (answer.status, receipt["channel"]) == (202, channel), answer
        self.published[receipt["id"]] = body
        if "close" in answer.headers.get("connection", ""):
            return False
        answer = http.request("GET", f"/history/{channel}", headers)
        assert (answer.status, [message["data"] for message in answer.json()]) == (200, [body.decode()]), answer
        return "close" not in answer.headers.get("connection", "")


def test_each_request_has_one_response_and_each_message_is_stored_once(daemon: Daemon, route: Route) -> None:
    is_direct = route.name == "direct"
    count = STREAMS if is_direct else STREAMS // 3
    generator = Generator(f"{SEED} {route.name}", may_wait=is_direct, may_overflow=route.name != "haproxy")
    streams = [generator.stream(f"tk{route.name}{number}kt") for number in range(count)]
    expected = victims(daemon, [stream.token for stream in streams])
    groups = [streams[start : start + _AT_ONCE] for start in range(0, count, _AT_ONCE)]
    with Bystander(route) as bystander, ThreadPoolExecutor(_THREADS) as pool:
        conversations = [
            conversation for group in pool.map(partial(converse, route.port), groups) for conversation in group
        ]
    assert not bystander.failure, f"FRAMING_SEED={SEED}: {bystander.failure}"
    wrong = {
        conversation.stream.token: list(faults(conversation, is_direct=is_direct)) for conversation in conversations
    }
    for conversation in conversations:
        expect(conversation, expected)
    seen_by_bystander: dict[str, bytes] = {}
    for channel, messages in history(daemon).items():
        assert not [data for data in messages.values() if SECRET.encode() in data], channel
        if channel.startswith(f"by/{route.name}/"):
            seen_by_bystander |= messages
        elif (token := TOKEN.search(channel)) and token[0] in wrong:
            wrong[token[0]] += expected.pop(channel, Kept()).faults(messages)
        else:
            assert channel == ENDED or channel.startswith("by/") or token, f"nobody published to {channel}"
    for channel, kept in expected.items():
        wrong[TOKEN.findall(channel)[0]] += kept.faults({})
    assert seen_by_bystander == bystander.published
    failed = [conversation for conversation in conversations if wrong[conversation.stream.token]]
    kinds = Counter(re.sub("[0-9]+", "N", fault[:60]) for faults_ in wrong.values() for fault in faults_)
    assert not failed, f"FRAMING_SEED={SEED}: {len(failed)} of {count} streams; {kinds}" + "".join(
        shown(conversation, wrong[conversation.stream.token]) for conversation in failed[:_SHOWN]
    )
    published = sum(answer.status == 202 for conversation in conversations for answer in conversation.answers)
    assert published > count / 2


def victims(daemon: Daemon, tokens: list[str]) -> dict[str, Kept]:
    """Publish one last message for each stream; return the content of the channels then."""
    lines = "".join(json.dumps({"channel": f"victim/{token}", "data": "victim"}) + "\n" for token in tokens)
    answer = daemon.request("POST", "/pub", {"Content-Type": "application/x-ndjson"}, lines.encode())
    receipts = [json.loads(line) for line in answer.body.splitlines()]
    return {receipt["channel"]: Kept({receipt["id"]: b"victim"}) for receipt in receipts}


def history(daemon: Daemon) -> dict[str, dict[str, bytes]]:
    """Return the history: by channel, data by id."""
    stored: dict[str, dict[str, bytes]] = defaultdict(dict)
    since = "all"
    with Http(daemon.http_port) as http:
        http.socket.settimeout(10 * SECONDS)
        while True:
            answer = http.request("GET", f"/history/**?since={since}&limit=10000")
            messages = answer.json()
            if not messages:
                return stored
            for message in messages:
                data = message["data"].encode() if "data" in message else base64.b64decode(message["data_base64"])
                assert message["id"] not in stored[message["channel"]]
                stored[message["channel"]][message["id"]] = data
            since = answer.headers["pushd-id"]


def shown(conversation: Conversation, wrong: list[str]) -> str:
    """Describe a stream that failed."""
    stream = conversation.stream
    how = "aborted" if stream.is_aborted else "half-closed" if stream.is_half_closed else "read to its end"
    read = [
        (request.method, request.target, sorted(doubt.name for doubt in request.doubts))
        for request in conversation.reading.requests
    ]
    return (
        f"\n\n{stream.token}, {how}: {'; '.join(wrong)}\n sent {stream.segments}\n waits {stream.waits}"
        f"\n read {read} {conversation.reading.tail}\n received {conversation.received!r}"
    )
