"""The signed URLs that were used, in memory."""

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.remembered_urls import RememberedUrls


def digest(number: int) -> bytes:
    """Return the digest of a URL."""
    return number.to_bytes(16, "big")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=60), st.integers(1, 5))
def test_those_whose_time_is_over_last_are_remembered(added: list[tuple[int, int]], most: int) -> None:
    urls, model, now = RememberedUrls(most), dict[bytes, int](), 0
    for until, passed in added:
        now += passed
        urls.add(digest(until), until, now)
        model = {key: end for key, end in model.items() if end > now}
        if until > now:
            model[digest(until)] = until
        model = dict(sorted(model.items(), key=lambda item: item[1])[-most:])
        assert {key for key in map(digest, range(31)) if urls.contains(key, now)} == set(model)
        assert len(urls) <= most


def test_memory_is_bounded_and_released() -> None:
    urls = RememberedUrls(3)
    for number in range(100):
        urls.add(digest(number), 1000 + number, 0)
    assert len(urls) == 3
    urls.add(digest(0), 3000, 2000)
    assert len(urls) == 1
    urls.clear()
    assert len(urls) == 0 and not urls.contains(digest(0), 2000)
