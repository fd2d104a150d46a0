"""What signs URLs for `pushctl sign`: the published vectors, mount points, and what cannot be signed."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pushd.auth.url_signature import encode_query, parse_query
from pushd.ctl.url_signer import sign
from tests.auth.signed_url_vectors import KEY_ID, NOW, SECRET

VECTORS = Path(__file__).parents[2] / "docs/signed-urls.json"
CONTENT = json.loads(VECTORS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", CONTENT["accepted"], ids=lambda vector: vector["about"])
def test_sign_makes_the_signature_of_each_vector(vector: dict[str, str]) -> None:
    path, _, query = vector["target"].partition("?")
    parameters = parse_query(query.encode())
    own = {
        name: parameters.pop(name)[0].decode()
        for name in (b"exp", b"until", b"sub", b"kid", b"sig")
        if name in parameters
    }
    rest = encode_query(parameters.items()).decode()
    url = sign(
        f"https://push.example.org{path}" + (f"?{rest}" if rest else ""),
        KEY_ID,
        SECRET,
        method=vector["method"],
        expires=int(own[b"exp"]),
        until=int(own[b"until"]) if b"until" in own else None,
        subject=own.get(b"sub"),
    )
    assert url.endswith(f"&sig={vector['sig']}")
    assert url.startswith(f"https://push.example.org{path}?")


@pytest.mark.parametrize(
    ("url", "mount", "signed"),
    [
        ("https://example.org/push/sse/news", "/push", "/sse/news"),
        ("https://example.org/push/sse/news", "/push/", "/sse/news"),
        ("https://example.org/a/b/sse/news?x=1", "/a/b", "/sse/news?x=1"),
        ("/sse/news", "", "/sse/news"),
        ("https://example.org", "", "/"),
        ("https://user:secret@[::1]:8080/sse/ä ö", "", "/sse/%C3%A4%20%C3%B6"),
    ],
)
def test_path_below_the_mount_point_is_signed(url: str, mount: str, signed: str) -> None:
    made = sign(url, KEY_ID, SECRET, expires=NOW, mount=mount)
    expected = sign(signed, KEY_ID, SECRET, expires=NOW)
    assert made.partition("sig=")[2] == expected.partition("sig=")[2]
    assert urlsplit(made)[:2] == urlsplit(url)[:2]
    assert made.isascii() and " " not in made


@pytest.mark.parametrize(
    ("url", "options", "error"),
    [
        ("/sse/news", {"method": "DELETE"}, "method must be one of GET, HEAD, POST, PUT (got DELETE)"),
        ("/sse/news#top", {}, "URL must not have a fragment"),
        ("/sse/news#", {}, "URL must not have a fragment"),
        ("/sse/news", {"mount": "/push"}, "path of the URL must begin with /push/"),
        ("/pushed/sse", {"mount": "/push"}, "path of the URL must begin with /push/"),
        ("/push", {"mount": "/push"}, "path of the URL must begin with /push/"),
        ("sse/news", {}, "path of the URL must begin with /"),
        ("/sse/news?kid=a&exp=1", {}, "URL must not have the parameter kid: the signature adds it"),
        ("/sse/news?s%69g=a", {}, "URL must not have the parameter sig: the signature adds it"),
    ],
)
def test_what_cannot_be_signed_is_refused(url: str, options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError) as raised:
        sign(url, KEY_ID, SECRET, expires=NOW, **options)
    assert str(raised.value) == error
