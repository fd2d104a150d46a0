"""The cache of responses by idempotency key: bounded by bytes, and keys of different requests differ."""

from itertools import combinations

from pushd.core.idempotency import MAX_BYTES, SECONDS, IdempotencyCache, IdempotencyKey


def test_keys_differ_by_everything_that_tells_requests_apart() -> None:
    keys = [
        IdempotencyKey.of(*arguments)
        for arguments in (
            (b"k", "a", b""),
            (b"k", "b", b""),
            (b"ak", "", b""),
            (b"k", "", b"", ("", "a")),
            (b"k", "a", b"", ("", "a")),
            (b"k", "a", b"", ("", "")),
            (b"k", "a", b"", ("one issuer", "alice")),
            (b"k", "a", b"", ("another", "alice")),
            (b"k", "a", b"", ("one issuer", "bob")),
            (b"k", "a", b"", ("one issueralice", "")),
            (b"k", "alicea", b"", ("one issuer", "")),
            (b"", "ak", b""),
            (b"\xff", "a", b""),
        )
    ]
    assert all(one.text != other.text for one, other in combinations(keys, 2))
    assert IdempotencyKey.of(b"k", "a", b"1").text == keys[0].text
    assert IdempotencyKey.of(b"k", "a", b"1").digest != keys[0].digest


def test_a_key_takes_the_same_memory_whatever_the_client_sent() -> None:
    assert len(IdempotencyKey.of(b"k" * 255, "a" * 16_000, b"x" * 1000).text) == 44


def test_the_oldest_responses_are_forgotten_when_all_take_too_many_bytes() -> None:
    cache: IdempotencyCache[int] = IdempotencyCache()
    size = MAX_BYTES // 10
    for number in range(20):
        cache.put(str(number), number, size, 1, 0.0)
    kept = [number for number in range(20) if cache.get(str(number), 0.0) is not None]
    assert kept == list(range(11, 20))
    cache = IdempotencyCache()
    for number in range(100_000):
        cache.put(str(number), number, 0, 1, 0.0)
    assert len(cache._responses) < MAX_BYTES // 800


def test_a_response_is_forgotten_after_its_time() -> None:
    cache: IdempotencyCache[int] = IdempotencyCache()
    cache.put("key", 1, 0, 1, 5.0)
    assert cache.get("key", 5.0 + SECONDS - 1) == 1
    assert cache.get("key", 5.0 + SECONDS) is None
