"""Client pull: a page that loads itself again, shows the newest message, and leads nowhere it should not."""

import pytest

from tests.transports.daemon import until
from tests.transports.http_client import HttpClient, address, encode_request


async def page(daemon, channel="a", **query):
    return await daemon.request("GET", address("pull", channel, **query))


async def test_the_interval_is_in_the_header_and_in_the_page(daemon):
    await daemon.publish("a", "hello")
    answer = await page(daemon)
    assert (answer.status, answer.headers["refresh"]) == (200, "12")
    assert b'<meta http-equiv="refresh" content="12">' in answer.body
    assert b"<pre>hello</pre>" in answer.body
    assert (await page(daemon, interval=3)).headers["refresh"] == "3"


async def test_the_page_shows_the_newest_message(daemon):
    assert b"There is no message yet" in (await page(daemon)).body
    await daemon.publish("a", "old")
    await daemon.publish("a", "new")
    body = (await page(daemon)).body
    assert b"new" in body and b"old" not in body


@pytest.mark.parametrize(
    ("data", "kind", "shown"),
    [
        (b"<b>&</b>", "text/plain", b"<pre>&lt;b&gt;&amp;&lt;/b&gt;</pre>"),
        (b'{"a":"<"}', "application/json", b"<pre>{&quot;a&quot;:&quot;&lt;&quot;}</pre>"),
        (b"<b>bold</b>", "text/html", b"<body><b>bold</b>"),
        (b"PNG", "image/png", b'<img alt="" src="data:image/png;base64,UE5H">'),
        (b"\x00\xff", "application/octet-stream", b"<p>2 bytes of application/octet-stream"),
    ],
)
async def test_text_is_escaped_html_and_images_are_shown(daemon, data, kind, shown):
    await daemon.publish("a", data, kind)
    answer = await page(daemon)
    assert shown in answer.body
    assert answer.headers["content-security-policy"] == "frame-ancestors 'self', sandbox allow-scripts"


async def test_interval_0_is_held_until_there_is_a_new_message(daemon):
    first = await daemon.publish("a", "1")
    answer = await page(daemon, interval=0)
    assert answer.headers["refresh"] == f"0; url=?interval=0&since={first}"
    held = daemon.connect("http", HttpClient(encode_request("GET", address("pull", "a", interval=0, since=first))))
    await until(lambda: daemon.subscribers("a"), "the page held")
    second = await daemon.publish("a", "2")
    answer = await held.answer
    assert b"<pre>2</pre>" in answer.body
    assert answer.headers["refresh"] == f"0; url=?interval=0&since={second}"


async def test_head_is_answered_at_once_for_any_interval(daemon):
    first = await daemon.publish("a", "1")
    answer = await daemon.request("HEAD", address("pull", "a", interval=0, since=first))
    assert (answer.status, answer.body) == (200, b"")
    assert daemon.subscribers("a") == []


async def test_a_url_of_an_allowed_host_is_accepted(start_daemon):
    daemon = await start_daemon({"http.pull_hosts": "example.org"})
    answer = await page(daemon, url="https://example.org/next?x=1&y=2", interval=5)
    assert answer.headers["refresh"] == "5; url=https://example.org/next?x=1&y=2"
    assert b"x=1&amp;y=2" in answer.body


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.com/", "forbidden"),
        ("https://example.org.evil.example/", "forbidden"),
        ("https://user@example.org/", "forbidden"),
        ("https://evil.example\\@example.org/", "bad-parameter"),
        ("//example.org/", "bad-parameter"),
        ("/pull/b", "bad-parameter"),
        ("javascript:alert(1)", "bad-parameter"),
        ("data:text/html,x", "bad-parameter"),
        ("https://example.org/\r\nX: 1", "bad-parameter"),
        ('https://example.org/"><script>', "bad-parameter"),
        ("https://example.org/; url=https://evil.example", "bad-parameter"),
        ("https://[", "bad-parameter"),
    ],
)
async def test_any_other_url_is_refused(start_daemon, url, code):
    daemon = await start_daemon({"http.pull_hosts": "example.org"})
    answer = await page(daemon, url=url)
    assert answer.json["error"]["code"] == code
    assert "refresh" not in answer.headers


@pytest.mark.parametrize("interval", ["-1", "1.5", "x", "86401", ""])
async def test_an_interval_is_a_number_of_seconds_up_to_a_day(daemon, interval):
    assert (await page(daemon, interval=interval)).json["error"]["code"] == "bad-parameter"


@pytest.mark.parametrize("channel", ["*", "a,b", "", "a//b"])
async def test_the_page_shows_a_single_channel(daemon, channel):
    assert (await daemon.request("GET", f"/pull/{channel}")).json["error"]["code"] == "bad-channel"
