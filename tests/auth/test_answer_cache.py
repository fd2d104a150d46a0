"""The cache of answers, in its bounds."""

from pushd.auth.answer_cache import AnswerCache
from pushd.auth.callback_question import Answer

ALLOWED = Answer(True, ttl=60, size=100)


def test_answers_end_with_their_ttl() -> None:
    cache = AnswerCache()
    cache.put(b"a", ALLOWED, now=10.0)
    assert cache.get(b"a", 69.9) is ALLOWED
    assert cache.get(b"a", 70.0) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_answers_without_ttl_are_not_kept_and_end_an_older_one() -> None:
    cache = AnswerCache()
    cache.put(b"a", ALLOWED, 0.0)
    cache.put(b"a", Answer(False, ttl=0), 1.0)
    assert cache.get(b"a", 1.0) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_least_recently_used_is_removed_first() -> None:
    cache = AnswerCache(max_answers=2)
    for key in (b"a", b"b"):
        cache.put(key, ALLOWED, 0.0)
    cache.get(b"a", 0.0)
    cache.put(b"c", ALLOWED, 0.0)
    assert [cache.get(key, 0.0) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_the_bytes_are_bounded() -> None:
    cache = AnswerCache(max_bytes=10_000)
    for number in range(1000):
        cache.put(b"%d" % (number % 50), Answer(True, ttl=60, size=number), 0.0)
        assert cache.bytes <= 10_000
    assert len(cache) < 10
    cache.put(b"large", Answer(True, ttl=60, size=10_000), 0.0)
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_answers_about_a_subject_are_forgotten() -> None:
    cache = AnswerCache()
    for key, subject in ((b"a", "alice"), (b"b", "bob"), (b"c", None)):
        cache.put(key, ALLOWED, 0.0, subject)
    kept = cache.bytes
    cache.forget({"alice", "carol"})
    assert [cache.get(key, 0.0) is not None for key in (b"a", b"b", b"c")] == [False, True, True]
    assert cache.bytes == kept * 2 // 3
