"""Headers that say how the body of a publish is encoded."""

import gzip

import pytest

PATHS = ["/pub/a", "/pub/a,b", "/pub"]
JSON_LINE = b'{"channel":"a","data":"x"}\n'


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "GZIP", "x-unknown"])
async def test_encoded_body_is_refused_with_the_accepted_coding(daemon, method, path, coding):
    headers = {"Content-Encoding": coding, "Content-Type": "application/x-ndjson"}
    answer = await daemon.request(method, path, gzip.compress(JSON_LINE), headers)
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")
    assert answer.json["error"]["code"] == "unsupported-type"
    assert "Content-Encoding" in answer.json["error"]["message"]
    assert (await daemon.request("GET", "/history/a,b?since=all")).json == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
async def test_identity_is_no_coding(daemon, path, coding):
    headers = {"Content-Encoding": coding, "Content-Type": "application/x-ndjson"}
    answer = await daemon.request("POST", path, JSON_LINE, headers)
    assert answer.status in (200, 202)
    assert "accept-encoding" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", PATHS)
async def test_part_of_a_body_is_refused(daemon, method, path):
    headers = {"Content-Range": "bytes 0-26/100", "Content-Type": "application/x-ndjson"}
    answer = await daemon.request(method, path, JSON_LINE, headers)
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-request")
    assert "Content-Range" in answer.json["error"]["message"]
    assert (await daemon.request("GET", "/history/a,b?since=all")).json == []


async def test_limit_counts_the_bytes_that_are_stored(start_daemon):
    daemon = await start_daemon({"limits.message": 10})
    headers = {"Content-Type": "text/plain; charset=iso-8859-1"}
    assert (await daemon.request("POST", "/pub/a,b", b"\xfc" * 5, headers)).status == 202
    answer = await daemon.request("POST", "/pub/a,b", b"\xfc" * 6, headers)
    assert (answer.status, answer.json["error"]["code"]) == (413, "too-large")
    found = (await daemon.request("GET", "/history/a,b?since=all")).json
    assert [(each["channel"], each["data"]) for each in found] == [("a", "ü" * 5), ("b", "ü" * 5)]
