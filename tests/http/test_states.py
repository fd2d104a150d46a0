"""The states of a connection follow each other as the table permits, and in no other way."""

import pytest

from pushd.http import states
from pushd.http.states import TRANSITIONS, AnswerState, IllegalTransition, ReadState, transition

READING, ANSWERING = tuple(ReadState), tuple(AnswerState)


@pytest.mark.parametrize("state", [*READING, *ANSWERING])
def test_each_state_has_a_row_a_name_and_successors_of_its_own_kind(state: ReadState | AnswerState) -> None:
    assert getattr(states, state.name) is state
    assert all(type(following) is type(state) for following in TRANSITIONS[state])


@pytest.mark.parametrize("side", [READING, ANSWERING])
def test_a_transition_succeeds_exactly_if_the_table_has_it(side: tuple[ReadState, ...]) -> None:
    for state in side:
        for following in side:
            if following in TRANSITIONS[state]:
                assert transition(state, following) is following
            else:
                with pytest.raises(IllegalTransition, match=f"{following.name}"):
                    transition(state, following)


@pytest.mark.parametrize(
    ("first", "others"), [(ReadState.NEW, READING), (AnswerState.READY, ANSWERING)], ids=["reading", "answering"]
)
def test_every_state_can_be_reached_from_the_first(first: ReadState, others: tuple[ReadState, ...]) -> None:
    reached: set[ReadState | AnswerState] = {first}
    while new := {following for state in reached for following in TRANSITIONS[state]} - reached:
        reached |= new
    assert reached == set(others)


@pytest.mark.parametrize("state", READING[:-1])
def test_reading_can_end_in_each_state(state: ReadState) -> None:
    assert ReadState.ENDED in TRANSITIONS[state]


@pytest.mark.parametrize(
    "state", [state for state in ANSWERING if state not in (AnswerState.DETACHED, AnswerState.CLOSED)]
)
def test_a_connection_can_be_lost_in_each_state_in_which_it_has_a_transport(state: AnswerState) -> None:
    assert AnswerState.CLOSED in TRANSITIONS[state]


def test_the_last_states_are_final() -> None:
    assert not TRANSITIONS[ReadState.ENDED] and not TRANSITIONS[AnswerState.CLOSED]
