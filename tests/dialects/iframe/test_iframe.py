"""Iframe streaming by raw HTTP; the shared promises are in tests/transports."""

import json

import pytest

from pushd.core.errors import BadParameter
from pushd.core.message import Gap
from pushd.dialects.iframe.callback import check_callback
from pushd.dialects.iframe.wire import Scripts
from tests.transports.http_client import address
from tests.transports.stream_client import IframeScripts

HOSTILE = "</script><script>alert(1)</script><!-- \u2028 \u2029 \" \\ ' ]]>"


@pytest.mark.parametrize("name", ["parent.f", "top.app.onMessage", "parent.$_1", "parent.a.b.c.d"])
def test_the_callback_is_a_function_of_the_page(name):
    assert check_callback(name) == name.encode()


@pytest.mark.parametrize(
    "name",
    [
        *(None, "", "f", "parent", "parent.", "parent.f()", "parent.f;x", "parent['f']", "parent.1", "parent.f\n"),
        *("opener.f", "parent.eval", "parent.document.write", "parent.location.assign", "parent.a.constructor"),
        *("parent.</script>", "parent.é", "parent.a.b.c.d.e", "parent." + "a" * 65, "parent.__proto__.f"),
    ],
)
def test_any_other_callback_is_refused(name):
    with pytest.raises(BadParameter):
        check_callback(name)


async def open_page(daemon, query="callback=parent.f", headers=None):
    client = IframeScripts(daemon)
    await client.ask(f"/iframe/a?{query}", headers)
    return client


async def test_data_of_publishers_cannot_leave_its_string(daemon):
    client = await open_page(daemon)
    for data, kind in ((HOSTILE, "text/plain"), (json.dumps({HOSTILE: HOSTILE, "__proto__": 1}), "application/json")):
        await daemon.request("POST", "/pub/a", data.encode(), {"Content-Type": kind})
        received = await client.next()
        assert received.data == data.encode() or json.loads(received.data) == json.loads(data)
    scripts = client.body.partition(b"-->\n")[2]
    assert scripts.count(b"<") == 4, "the tags of two scripts, and nothing else"
    assert not any(forbidden in scripts for forbidden in (b"<!--", b"\xe2\x80\xa8", b"\xe2\x80\xa9"))


async def test_the_page_names_its_callback_once_and_begins_with_padding(daemon):
    client = await open_page(daemon, "callback=top.app.f")
    await daemon.request("POST", "/pub/a", b"x")
    await client.next()
    assert client.body.count(b"top.app.f") == 1
    assert len(client.body.partition(b"-->")[0]) > 1024


@pytest.mark.parametrize(
    "query", ["", "?callback=alert(1)", "?callback=parent.f&callback=parent.g", "?calback=parent.f"]
)
async def test_a_refused_request_reflects_nothing_as_html(daemon, query):
    answer = await daemon.request("GET", f"/iframe/a{query}")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")


async def test_only_allowed_origins_may_frame_the_page(start_daemon):
    daemon = await start_daemon({"http.allow_origins": "https://shop.example"})
    client = await open_page(daemon)
    policy = client.headers["content-security-policy"]
    assert "frame-ancestors 'self' https://shop.example" in policy
    assert "default-src 'none'" in policy


async def test_pages_with_different_callbacks_share_frames(daemon):
    first, second = await open_page(daemon), await open_page(daemon, "callback=parent.g")
    await daemon.request("POST", "/pub/a", b"x")
    assert await first.next() == await second.next()
    assert daemon_wires(daemon) == 1


def daemon_wires(daemon):
    """Return the number of different wires of the open pages."""
    resource = daemon._service._root.getStaticEntity(b"iframe")
    return len({stream.subscriber.wire for stream in resource.live._live})


def test_a_gap_is_visible():
    assert b"gap" in Scripts().gap(Gap("a", "x-1", "x-2", "expired"))


async def test_an_address_needs_topics(daemon):
    assert (await daemon.request("GET", address("iframe", "", callback="parent.f"))).status == 400
