"""Requests of Pushlet and comet4j with any parameters: each is answered, refused or held, and leaves nothing behind."""

import re
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from pushd.core.errors import Stopping
from pushd.core.peer import DAEMON
from tests.transports.in_memory_server import InMemoryServer, request

_ANY = st.binary(max_size=12) | st.text(max_size=12).map(str.encode)
_SINCE = st.sampled_from([b"all", b"E-0", b"E-99", b"X-1", b"last:1", b"latest", b"1m", b""]) | _ANY
_OWN = b"the id of the session"
_ID = st.just(_OWN) | st.just(_OWN) | _ANY
_PUSHLET = st.fixed_dictionaries(
    {
        "p_event": st.sampled_from(
            [b"join", b"join-listen", b"listen", b"refresh", b"subscribe", b"unsubscribe", b"publish", b"hb", b"leave"]
        )
        | _ANY,
        "p_id": _ID,
    },
    optional={
        "p_format": st.sampled_from([b"js", b"xml", b"xml-strict", b"json", b"ser"]) | _ANY,
        "p_mode": st.sampled_from([b"stream", b"pull", b"poll"]) | _ANY,
        "p_subject": st.sampled_from([b"/a", b"/a,/b", b"/", b"/a/*", b"//", b"/a,", b",", b"/$sys/x", b"a/"]) | _ANY,
        "p_since": _SINCE,
        "p_sid": st.sampled_from([b"s1", b"s2"]) | _ANY,
        "p_label": _ANY,
        "x": _ANY,
    },
)
_COMET4J = st.fixed_dictionaries(
    {"cmd": st.sampled_from([b"conn", b"revival", b"drop"]) | _ANY, "cid": _ID},
    optional={
        "ws": st.sampled_from([b"stream", b"lpool", b"auto"]) | _ANY,
        "channels": st.sampled_from([b"a", b"a,b", b"**", b"c4j", b"a/*", b","]) | _ANY,
        "since": _SINCE,
        "cv": st.sampled_from([b"0.1.7"]) | _ANY,
    },
)


def check_requests(path: str, queries: list[dict[str, bytes]], id_pattern: str) -> None:
    """Send the requests of one client, each on its own connection, and a message after each."""
    server = InMemoryServer()
    Deferred.fromCoroutine(server.start())
    id, transports = b"", []
    for query in queries:
        given = {name: id if value == _OWN else value for name, value in query.items()}
        transports.append(server.connect(is_http=True))
        transports[-1].protocol.dataReceived(request(f"{path}?{urlencode(given)}"))
        output = bytes(transports[-1].value())
        if found := re.search(id_pattern.encode(), output):
            id = found[1]
        Deferred.fromCoroutine(server.publish("a", "text"))
    for each in server.transports:
        each.close_all(Stopping("the daemon is stopping"), busy=False)
    server.clock.pump([1] * 10)
    for transport in transports:
        assert re.match(rb"HTTP/1\.1 (200|400|404) ", transport.value()), transport.value()
        server.lose(transport)
    assert list(server.hub.queries.connections(DAEMON, None, None, 9)) == []
    assert not +server.counters.connections
    assert (len(server.admission), server.hub.budget.used) == (0, 0)


@given(st.lists(_PUSHLET, min_size=1, max_size=6))
def test_any_requests_of_pushlet_are_answered(queries):
    check_requests("/pushlet.srv", queries, r'p_id"?[=,:]"(\w+)"')


@given(st.lists(_COMET4J, min_size=1, max_size=6))
def test_any_requests_of_comet4j_are_answered(queries):
    check_requests("/comet4j", queries, r"cId%22%3A%22(\w+)%22")
