"""Signed URLs of the client: the published vectors, the verification of the daemon, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pushd_client import UrlKey, sign_url

from pushd.auth.signed_urls import SignedUrl, verify
from pushd.auth.url_signature import parse_query

CONTENT = json.loads((Path(__file__).parents[3] / "docs/signed-urls.json").read_text(encoding="utf-8"))
SECRET = CONTENT["secret"]
KEY = UrlKey(CONTENT["kid"], SECRET)
EXP = CONTENT["now"] + 300
ADDED = ("exp", "until", "sub", "kid", "sig")


def verified(url: str, method: str = "GET") -> SignedUrl:
    """Return what the daemon makes of a URL.

    :raises CheckFailed: when it does not accept it.
    """
    path, _, query = url.partition("?")
    return verify({KEY.id: SECRET.encode()}, method.encode(), unquote_to_bytes(path), parse_query(query.encode()))


def unsigned(target: str) -> str:
    """Return a target without what a signature adds."""
    path, _, query = target.partition("?")
    rest = "&".join(pair for pair in query.split("&") if pair.partition("=")[0] not in ADDED)
    return f"{path}?{rest}" if rest else path


@pytest.mark.parametrize("vector", CONTENT["accepted"], ids=lambda vector: vector["about"])
def test_published_vectors(vector: dict[str, str]) -> None:
    given = dict(parse_qsl(vector["target"].partition("?")[2]))
    until = int(given["until"]) if "until" in given else None
    target = unsigned(vector["target"])
    url = sign_url(target, KEY, exp=int(given["exp"]), until=until, sub=given.get("sub"), method=vector["method"])
    assert url.endswith(f"&sig={vector['sig']}")
    assert verified(url, vector["method"])


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(), st.text())
def test_daemon_accepts_any_path_and_parameters(path: str, name: str, value: str) -> None:
    target = f"/sse/{quote(path)}?{urlencode({f'x{name}': value}, errors='replace')}"
    url = sign_url(target, KEY, exp=EXP, sub="Jürgen B.")
    assert verified(url).identity.subject == "Jürgen B."
    assert not set(url) & set("\"'<>;\\ ")


def test_times_may_be_durations_and_datetimes():
    url = verified(sign_url("/sse/a", KEY, exp=timedelta(minutes=1), until=timedelta(hours=2)))
    now = datetime.now(UTC)
    assert abs(url.expires - now.timestamp() - 60) < 30 and abs(url.until - now.timestamp() - 7200) < 30
    later = datetime(2030, 1, 1, tzinfo=UTC)
    assert verified(sign_url("/sse/a", KEY, exp=later)).expires == later.timestamp()
    assert abs(verified(sign_url("/sse/a", KEY)).expires - now.timestamp() - 300) < 30


@pytest.mark.parametrize(
    ("url", "mount", "signed"),
    [
        ("https://example.org/push/sse/news", "/push", "/sse/news"),
        ("https://example.org/push/sse/news", "/push/", "/sse/news"),
        ("https://example.org/a/b/sse/news?x=1", "/a/b", "/sse/news?x=1"),
        ("/sse/news", "", "/sse/news"),
        ("wss://example.org", "", "/"),
        ("https://user:secret@[::1]:8080/sse/ä ö", "", "/sse/%C3%A4%20%C3%B6"),
    ],
)
def test_path_below_the_mount_point_is_signed(url: str, mount: str, signed: str) -> None:
    made = sign_url(url, KEY, exp=EXP, mount=mount)
    assert made.partition("sig=")[2] == sign_url(signed, KEY, exp=EXP).partition("sig=")[2]
    assert verified(urlsplit(made)._replace(scheme="", netloc="").geturl().removeprefix(mount.rstrip("/")))
    assert urlsplit(made)[:2] == urlsplit(url)[:2]
    assert made.isascii() and " " not in made


def test_secret_may_be_a_file(tmp_path):
    file = tmp_path / "web.key"
    file.write_text(SECRET + "\r\n")
    urls = {sign_url("/sse/a", ("web", secret), exp=EXP) for secret in (file, SECRET, SECRET.encode())}
    assert len(urls) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exp": 300}, r"exp must be unix seconds, a datetime, or a timedelta from now \(got 300\)"),
        ({"exp": EXP, "until": EXP - 1}, "until must not be before exp"),
        ({"sub": ""}, "sub must have 1 to 255 bytes"),
        ({"sub": "ü" * 128}, "sub must have 1 to 255 bytes"),
        ({"method": "DELETE"}, "method must be one of GET, HEAD, POST, PUT"),
        ({"mount": "/other"}, "path of the URL must begin with /other/"),
        ({"url": "/pushed/sse", "mount": "/push"}, "path of the URL must begin with /push/"),
        ({"url": "/push", "mount": "/push"}, "path of the URL must begin with /push/"),
        ({"url": "sse/a"}, "path of the URL must begin with /"),
        ({"url": "/sse/a?exp=1"}, "must not have the parameter exp"),
        ({"url": "/sse/a?s%69g=a"}, "must not have the parameter sig"),
        ({"url": "/sse/a#b"}, "must not have a fragment"),
        ({"url": "/sse/a#"}, "must not have a fragment"),
        ({"key": ("web", SECRET[1:])}, r"secret must have at least 32 bytes \(has 31\)"),
        ({"key": ("web", "-----BEGIN PUBLIC KEY-----" + SECRET)}, "must be a secret"),
        ({"key": ("w b", SECRET)}, "id of the key"),
    ],
)
def test_what_cannot_be_signed_is_refused(options, message):
    with pytest.raises(ValueError, match=message) as raised:
        sign_url(**{"url": "/sse/a", "key": KEY} | options)
    assert SECRET[1:] not in str(raised.value)
