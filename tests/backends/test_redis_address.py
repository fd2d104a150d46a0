"""The URL of a Redis says where it is; what is wrong with it is told without the password."""

import pytest

from pushd.backends.redis.address import Address, parse_url
from pushd.backends.redis.key_names import of_topic


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address((("localhost", 6379),))),
        ("redis://10.0.0.7:7000/3", Address((("10.0.0.7", 7000),), db=3)),
        ("redis://[::1]:7000", Address((("::1", 7000),))),
        ("redis://:s%3Fcret%40@host", Address((("host", 6379),), password="s?cret@")),
        ("rediss://me:it@host/", Address((("host", 6379),), tls=True, user="me", password="it")),
        ("unix:///run/redis.sock", Address(path="/run/redis.sock")),
        ("unix://me:it@/run/redis.sock?db=2", Address(path="/run/redis.sock", user="me", password="it", db=2)),
        ("redis+sentinel://a,b:1/main", Address((("a", 26379), ("b", 1)), service="main")),
        ("rediss+sentinel://:x@a/main/2", Address((("a", 26379),), service="main", tls=True, password="x", db=2)),
    ],
)
def test_a_url_is_read(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis://a,b",
        "redis://s3cret@host",
        "redis://host/name",
        "redis://host/0?x=1",
        "redis://:s3cret#@host",
        "redis://host:99999999",
        "unix://relative.sock",
        "unix:///run/redis.sock?port=1",
        "redis+sentinel://a,b",
        "redis://:s3cret@host:port",
    ],
)
def test_what_is_no_url_of_a_redis_is_told_without_the_password(url: str) -> None:
    with pytest.raises(ValueError, match="redis://") as told:
        parse_url(url)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:s3cret@host:1/2", "host:1"),
        ("redis://[::1]", "[::1]:6379"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("redis+sentinel://:s3cret@a,b/main", "main by a:26379,b:26379"),
    ],
)
def test_it_is_shown_without_the_password(url: str, shown: str) -> None:
    assert str(parse_url(url)) == shown
    assert "s3cret" not in repr(parse_url(url))


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("a/b", b"p:f:a/b"),
        ("[a]", b"p:f:[a]"),
        ("*", b"p:f:*"),
        ("a/**", b"p:f:a/*"),
        ("[a]/*/b^c-d", b"p:f:\\[a\\]/*/b\\^c\\-d"),
    ],
)
def test_a_topic_has_a_name_on_pub_sub(topic: str, name: bytes) -> None:
    assert of_topic("p:", topic) == name
