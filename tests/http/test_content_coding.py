"""A publish contains the whole message, without a content coding."""

import gzip

import pytest


@pytest.mark.parametrize("path", ["/pub/a", "/pub"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-gzip", "gzip, identity"])
async def test_content_coding_is_refused(daemon, path, coding):
    headers = {"Content-Encoding": coding, "Content-Type": "application/x-ndjson"}
    answer = await daemon.request("POST", path, gzip.compress(b"{}"), headers)
    assert (answer.status, answer.json["error"]["code"]) == (415, "unsupported-type")
    assert answer.headers["accept-encoding"] == "identity"


async def test_identity_is_no_coding(daemon):
    assert (await daemon.request("POST", "/pub/a", b"x", {"Content-Encoding": "identity"})).status == 202


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_part_of_a_message_is_refused(daemon, method):
    answer = await daemon.request(method, "/pub/a", b"x", {"Content-Range": "bytes 0-0/2"})
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-request")
