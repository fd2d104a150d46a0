"""Which channels connections have entered, and what that takes in memory."""

import tracemalloc

from pushd.hub.memberships import Memberships


def test_memberships_of_connections() -> None:
    held = Memberships()
    held.add(1, "a", "alice", is_subscription=True)
    held.add(2, "a", "bob", is_subscription=False)
    held.add(1, "b", "alice", is_subscription=False)
    held.add(1, "b", "ada", is_subscription=False)
    held.add(2, "a", "bob", is_subscription=True)
    assert {name: each.id for name, each in held.of(1).items()} == {"a": "alice", "b": "ada"}
    assert held.of(2)["a"].is_subscription
    assert held.of(3) == {}
    held.remove(1, ["a", "c"])
    assert list(held.of(1)) == ["b"]
    held.remove(1, ["b"])
    held.remove(2, list(held.of(2)))
    held.remove(3, ["a"])
    assert len(held) == 0


def test_a_membership_takes_little_memory() -> None:
    held, number = Memberships(), 20_000
    numbers, ids = list(range(1, number + 1)), [f"user-{each:07}" for each in range(number)]
    tracemalloc.start()
    for each, id in zip(numbers, ids, strict=True):
        held.add(each, "".join(["room/", "general"]), id, is_subscription=True)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    print(f"{used / number:.0f} bytes a membership")
    assert used / number <= 136
