"""A request body is limited, assembled, and charged to the memory budget until it is complete."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.budget import Budget
from pushd.core.errors import NoRoom, Refusal, TooLarge
from pushd.http.body import RequestBody

SMALL = 64 << 10
"""What one connection may always hold."""


class Owner:
    """The holder of a body, which is not asked to release it here."""

    def release_for(self, refusal: Refusal) -> None:
        raise AssertionError("no body is stalled")


def limited(limit: int, budget: Budget | None = None) -> RequestBody:
    """Return an empty body."""
    body = RequestBody(budget or Budget())
    body.limit = limit
    return body


@given(st.lists(st.binary(max_size=20)))
def test_pieces_are_joined(pieces: list[bytes]) -> None:
    body = limited(1000)
    for piece in pieces:
        body.append(piece)
    assert body.size == len(b"".join(pieces))
    assert body.take() == b"".join(pieces)
    assert body.take() == b""


def test_a_body_in_one_piece_is_not_copied() -> None:
    body, piece = limited(1000), bytes(1000)
    body.append(piece)
    assert body.take() is piece


def test_the_limit_may_be_reached_and_not_exceeded() -> None:
    body = limited(10)
    body.append(b"x" * 4)
    body.append(b"x" * 6)
    with pytest.raises(TooLarge, match="must not exceed 10 bytes"):
        body.append(b"x")


def test_it_is_charged_until_it_is_taken_or_discarded() -> None:
    budget = Budget()
    body = limited(1000, budget)
    for end in (body.take, body.discard):
        body.append(b"x" * 30)
        assert budget.used == 0
        body.charge(Owner())
        body.append(b"x" * 20)
        body.charge(Owner())
        body.charge(Owner())
        assert budget.used == 50
        end()
        assert budget.used == 0


def test_a_large_body_is_refused_and_a_small_one_is_not_when_the_budget_is_exceeded() -> None:
    budget = Budget(1)
    budget.recount(0, 2)
    body = limited(1 << 20, budget)
    body.append(bytes(SMALL))
    body.charge(Owner())
    body.append(b"x")
    with pytest.raises(NoRoom):
        body.charge(Owner())
    assert budget.used == 2 + SMALL
    body.discard()
    assert budget.used == 2


def test_each_byte_may_have_been_sent_as_a_chunk_of_its_own() -> None:
    body = limited(1000)
    body.append(b"x" * 5)
    assert body.encoded_size >= 5 * len(b"1\r\nx\r\n")
    body.take()
    assert body.encoded_size >= 5 * len(b"1\r\nx\r\n"), "it counts until the next request"
