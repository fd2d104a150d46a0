"""The parts of ``/multipart``: programs get their length, browsers what makes them show a part at once."""

import pytest

from tests.transports.daemon import MovableReactor, until
from tests.transports.http_client import HttpClient, encode_request

BROWSERS = {
    "Chromium image": {
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0",
        "Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        "Sec-Fetch-Mode": "no-cors",
    },
    "Firefox fetch": {
        "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Accept": "*/*",
    },
    "only the mode": {"Sec-Fetch-Mode": "cors"},
    "only an image": {"Accept": "image/png,image/*;q=0.8,*/*;q=0.5"},
}
PROGRAMS = {
    "no headers": {},
    "urllib": {"User-Agent": "Python-urllib/3.13"},
    "ffmpeg": {"User-Agent": "Lavf/61.1.100", "Accept": "*/*"},
    "Go": {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"},
    "by its type": {"User-Agent": "curl/8.5.0", "Accept": "multipart/x-mixed-replace"},
}


async def open_stream(daemon, headers, path="/multipart/a"):
    """Return the boundary and the list of received pieces of a stream."""
    received: list[bytes] = []
    client = daemon.connect("http", HttpClient(encode_request("GET", path, headers=headers), received.append))
    head = await client.head
    assert head.status == 200
    assert "User-Agent" in head.headers["vary"]
    return client, head.headers["content-type"].partition(";boundary=")[2].encode(), received


async def received_from(received, ending):
    await until(lambda: b"".join(received).endswith(ending), "the part arrives")
    return b"".join(received)


@pytest.mark.parametrize("headers", BROWSERS.values(), ids=BROWSERS)
async def test_browser_gets_the_headers_of_the_next_image_ahead(daemon, headers):
    _, boundary, received = await open_stream(daemon, headers)
    await daemon.publish("a", b"ONE", "image/png")
    tail = b"\r\n--" + boundary + b"\r\nContent-Type: image/png\r\n\r\n"
    body = await received_from(received, b"ONE" + tail)
    assert body == b"--" + boundary + b"\r\nContent-Type: image/png\r\n\r\nONE" + tail


@pytest.mark.parametrize("headers", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("address", ["multipart", "sub"])
async def test_program_gets_parts_with_their_length_until_an_empty_one(daemon, headers, address):
    if address == "sub":
        headers = headers | {"Accept": "multipart/x-mixed-replace"}
    client, boundary, received = await open_stream(daemon, headers, f"/{address}/a")
    line = b"--" + boundary + b"\r\n"
    first = line + b"Content-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nONE\r\n" + line
    second = b"Content-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nTHREE\r\n" + line
    await daemon.publish("a", b"ONE", "image/jpeg")
    assert await received_from(received, first) == first
    await daemon.publish("a", b"THREE", "image/jpeg", end=1)
    await client.answer
    assert b"".join(received) == first + second + b"Content-Length: 0\r\n\r\n\r\n--" + boundary + b"--\r\n"


async def test_idle_stream_of_a_program_repeats_the_part(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.stream": 5}, reactor)
    _, boundary, received = await open_stream(daemon, {})
    await daemon.publish("a", b"ONE", "image/jpeg")
    line = b"--" + boundary + b"\r\n"
    part = b"Content-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nONE\r\n" + line
    await received_from(received, line + part)
    await reactor.pass_time(6)
    assert await received_from(received, part + part) == line + part + part
