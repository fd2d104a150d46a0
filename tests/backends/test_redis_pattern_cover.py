"""The cover of patterns: bounded, complete, and exact again when few patterns are left."""

import random

import pytest

from pushd.backends.redis.pattern_cover import PatternCover

MOST = 16
SHAPES = {
    "one prefix": [f"user/{number}/*" for number in range(500)],
    "many prefixes": [f"{number}/x/*" for number in range(500)],
    "pairs": [f"{number // 2}/{'ab'[number % 2]}/*" for number in range(500)],
    "wildcards first": [f"*/{number}/**" for number in range(500)],
    "reserved names": [f"$presence/{number}/**" for number in range(500)],
    "deep": ["/".join([*map(str, range(number % 60)), str(number), "**"]) for number in range(500)],
    "mixed": [
        *("a/**", "a/*", "**", "*", "b/*/c"),
        *(f"user/{number}/*" for number in range(250)),
        *(f"{number}/*/x" for number in range(245)),
    ],
}


def is_covered(pattern: str, cover: str) -> bool:
    """Return whether in Redis, whose `*` matches any text, a cover matches all that a pattern matches."""
    if cover.endswith("*") and cover.count("*") == 1:
        return pattern.startswith(cover[:-1])
    return pattern.replace("**", "*") == cover


def check(cover: PatternCover, patterns: set[str]) -> None:
    """Check that patterns are covered, by no more covers than are allowed and no others."""
    assert all(is_covered(pattern, cover[pattern]) for pattern in patterns)
    assert set(cover) == {cover[pattern] for pattern in patterns}
    assert len(cover) <= MOST


@pytest.mark.parametrize("shape", SHAPES)
def test_any_patterns_in_any_order_have_few_covers(shape: str) -> None:
    patterns, chance = list(SHAPES[shape]), random.Random(shape)
    chance.shuffle(patterns)
    cover, added = PatternCover(MOST), set[str]()
    for pattern in patterns:
        cover.add(pattern)
        added.add(pattern)
        check(cover, added)
    chance.shuffle(patterns)
    for pattern in patterns:
        cover.remove(pattern)
        added.discard(pattern)
        check(cover, added)
    assert len(cover) == 0


def test_up_to_the_bound_each_pattern_covers_itself() -> None:
    cover = PatternCover(MOST)
    for number in range(MOST):
        cover.add(f"user/{number}/*")
    assert set(cover) == {f"user/{number}/*" for number in range(MOST)}
    cover.add("a/*")
    cover.add("a/**")  # the same in Redis
    assert cover["a/*"] == cover["a/**"] == "a/*"


def test_only_the_patterns_of_a_large_group_get_a_broader_cover() -> None:
    cover = PatternCover(MOST)
    for pattern in ("news/*", "chat/1/**", "*/urgent"):
        cover.add(pattern)
    for number in range(500):
        cover.add(f"user/{number}/*")
    assert set(cover) == {"news/*", "chat/1/*", "*/urgent", "user/*"}


def test_few_patterns_cover_themselves_again() -> None:
    cover = PatternCover(MOST)
    for number in range(500):
        cover.add(f"user/{number}/*")
    assert set(cover) == {"user/*"}
    for number in range(4, 500):
        cover.remove(f"user/{number}/*")
    assert set(cover) == {f"user/{number}/*" for number in range(4)}
