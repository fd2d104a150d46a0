"""Revocations: which credentials they cover, how two of a key are merged, and when they expire."""

from itertools import permutations
from typing import Any

import pytest

from pushd.core.grant import NOTHING
from pushd.core.identity import Identity
from pushd.core.revocations import Kind, Revocation, Revocations

NOW = 1_000_000


def revocation(kind: Kind = "sub", value: str = "alice", before: int = NOW, **rest: Any) -> Revocation:
    """Return a revocation that is kept for 100 seconds."""
    return Revocation(kind, value, before, until=NOW + 100, created=NOW)._replace(**rest)


def identity(issued_at: float | None = NOW - 1, subject: str | None = "alice") -> Identity:
    """Return the identity of a token with the id ``t1`` and two tags."""
    return Identity(subject, NOTHING, "issuer", None, "t1", ("mobile", "beta"), issued_at)


def known(*revocations: Revocation) -> Revocations:
    """Return an index of revocations."""
    index = Revocations()
    index.add(revocations, NOW)
    return index


@pytest.mark.parametrize(("kind", "value"), [("jti", "t1"), ("sub", "alice"), ("tag", "mobile"), ("tag", "beta")])
def test_each_kind_covers_what_it_names(kind: Kind, value: str) -> None:
    revoked = revocation(kind, value)
    assert known(revoked).covering(identity()) == revoked
    assert known(revoked._replace(value="other")).covering(identity()) is None


def test_kinds_are_not_mixed_up() -> None:
    index = known(revocation("jti", "alice"), revocation("tag", "t1"), revocation("sub", "mobile"))
    assert index.covering(identity()) is None


@pytest.mark.parametrize(
    ("issued_at", "is_covered"), [(NOW - 1, True), (NOW - 0.5, True), (NOW, False), (NOW + 1, False), (None, True)]
)
def test_only_credentials_from_before_are_covered_and_those_of_unknown_age(
    issued_at: float | None, is_covered: bool
) -> None:
    assert (known(revocation()).covering(identity(issued_at)) is not None) is is_covered


def test_credential_without_id_and_subject_is_covered_by_its_tags_only() -> None:
    nameless = identity(subject=None)
    assert known(revocation()).covering(nameless) is None
    assert known(revocation("tag", "mobile")).covering(nameless) is not None


def test_revocations_of_a_key_are_merged_whatever_the_order() -> None:
    some = [
        revocation(before=NOW - 5, until=NOW + 300, created=NOW - 5, reason="first"),
        revocation(before=NOW - 9, until=NOW + 200, created=NOW, reason="a"),
        revocation(before=NOW - 7, until=NOW + 100, created=NOW, reason="b"),
    ]
    merged = revocation(before=NOW - 5, until=NOW + 300, created=NOW, reason="b")
    for order in permutations(some):
        assert list(known(*order)) == [merged]


def test_add_returns_what_has_changed() -> None:
    index = known(revocation())
    later = revocation(before=NOW + 1)
    assert index.add([revocation(), revocation("tag", "x")], NOW) == [revocation("tag", "x")]
    assert index.add([later, later], NOW) == [later]
    assert index.add([revocation(before=NOW - 50)], NOW) == []


def test_expired_revocations_are_ignored_and_removed() -> None:
    index = known(revocation(), revocation("tag", "mobile", until=NOW + 50), revocation("jti", "t1", until=NOW))
    assert len(index) == 2
    index.expire(NOW + 49.9)
    assert len(index) == 2
    index.expire(NOW + 50)
    assert [each.key for each in index] == [("sub", "alice")]
    index.expire(NOW + 100)
    assert len(index) == 0
    assert index.covering(identity()) is None
    assert index.add([revocation(until=NOW + 500)], NOW + 100) != []
    index.expire(NOW + 499)
    assert len(index) == 1


def test_pages_are_sorted_by_key() -> None:
    some = [revocation("tag", "b"), revocation("sub", "b"), revocation("jti", "z"), revocation("sub", "a")]
    index = known(*some)
    assert [each.key for each in index.page(None, 3)] == [("jti", "z"), ("sub", "a"), ("sub", "b")]
    assert [each.key for each in index.page(("sub", "a"), 10)] == [("sub", "b"), ("tag", "b")]
    assert index.page(("tag", "b"), 10) == []
    assert index.find(("sub", "b")) == some[1]
    assert index.find(("sub", "z")) is None
