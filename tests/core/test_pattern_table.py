"""The table of deep patterns: it finds the subscribers of all patterns that match, after any changes."""

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.names import matches
from pushd.core.pattern_table import PatternTable
from pushd.core.patterns import BLOCK_SIZE
from tests.core.test_patterns import CHANNELS, PATTERNS

CHANGES = st.lists(st.tuples(st.booleans(), PATTERNS, st.integers(0, 3)), max_size=30)


def found(table: PatternTable[int], channel: str) -> set[int]:
    return set(table.subscribers(table.matching(channel)))


@given(CHANGES, st.lists(CHANNELS, min_size=1, max_size=5))
def test_table_agrees_with_matches_after_every_change(
    changes: list[tuple[bool, str, int]], channels: list[str]
) -> None:
    table: PatternTable[int] = PatternTable()
    model: set[tuple[str, int]] = set()
    for added, pattern, subscriber in changes:
        if added:
            table.add(pattern, subscriber)
            model.add((pattern, subscriber))
        else:
            table.remove(pattern, subscriber)
            model.discard((pattern, subscriber))
        assert len(table) == len({pattern for pattern, _ in model})
        for channel in channels:
            assert found(table, channel) == {each for pattern, each in model if matches(pattern, channel)}


def test_places_of_removed_patterns_are_reused() -> None:
    table: PatternTable[int] = PatternTable()
    table.add("kept/*", -1)
    for number in range(3 * BLOCK_SIZE):
        table.add(f"{number}/*", number)
        table.remove(f"{number}/*", number)
    assert len(table._blocks) == 1
    for number in range(2 * BLOCK_SIZE):
        table.add(f"{number}/*", number)
    assert len(table._blocks) == 3
    for number in (0, BLOCK_SIZE - 2, BLOCK_SIZE - 1, 2 * BLOCK_SIZE - 1):
        assert found(table, f"{number}/x") == {number}
    assert found(table, "kept/x") == {-1}
