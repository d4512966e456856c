"""The tables of legal moves: closed, every state reached, and final states final."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from headrace.errors import IllegalMoveError
from headrace.lifecycle import (
    ATTEMPT_MOVES,
    BATCH_FINAL,
    BATCH_MOVES,
    ITEM_FINAL,
    ITEM_MOVES,
    ITEM_OPEN,
    ITEM_RETRYABLE,
    AttemptState,
    BatchState,
    ItemState,
    check_attempt_move,
    check_batch_move,
    check_item_move,
    picture,
)

TABLES: list[Any] = [
    pytest.param(ItemState, ITEM_MOVES, ItemState.PENDING, id="item"),
    pytest.param(AttemptState, ATTEMPT_MOVES, AttemptState.STARTED, id="attempt"),
    pytest.param(BatchState, BATCH_MOVES, BatchState.VALIDATING, id="batch"),
]
Moves = Mapping[StrEnum, frozenset[StrEnum]]


@pytest.mark.parametrize(("states", "moves", "first"), TABLES)
def test_tables_are_closed(states: type[StrEnum], moves: Moves, first: StrEnum) -> None:
    """Every state has its row, and every move leads to a state of the same machine."""
    assert set(moves) == set(states)
    assert set().union(*moves.values()) <= set(states)


@pytest.mark.parametrize(("states", "moves", "first"), TABLES)
def test_every_state_is_reached(states: type[StrEnum], moves: Moves, first: StrEnum) -> None:
    """From the first state there is a way to every other."""
    assert reached(moves, first) == set(states)


@pytest.mark.parametrize(("states", "moves", "first"), TABLES)
def test_every_state_can_end(states: type[StrEnum], moves: Moves, first: StrEnum) -> None:
    """From every state there is a way to one that ends: nothing is stuck by its table."""
    ends = {state for state in states if not moves[state]}
    assert ends
    for state in states:
        assert reached(moves, state) & (ends | set(ITEM_FINAL) | set(BATCH_FINAL))


def reached(moves: Moves, first: StrEnum) -> set[StrEnum]:
    seen, todo = {first}, [first]
    while todo:
        for state in moves[todo.pop()] - seen:
            seen.add(state)
            todo.append(state)
    return seen


def test_only_a_retry_leaves_a_final_item() -> None:
    """Succeeded and cancelled items stay; the retryable ones only go back to waiting."""
    assert set(ItemState) == ITEM_FINAL | ITEM_OPEN
    assert not ITEM_FINAL & ITEM_OPEN
    for state in ITEM_FINAL:
        want = {ItemState.WAITING} if state in ITEM_RETRYABLE else set()
        assert ITEM_MOVES[state] == want


def test_only_a_retry_leaves_a_final_batch() -> None:
    """A final batch stays, but for a completed one that is opened again."""
    for state in BATCH_FINAL:
        want = {BatchState.RUNNING} if state is BatchState.COMPLETED else set()
        assert BATCH_MOVES[state] == want


def test_ended_attempts_never_change() -> None:
    """An attempt that ended, or an unknown one once its end is known, is history."""
    ended = set(AttemptState) - {AttemptState.STARTED, AttemptState.ACCEPTED}
    assert ATTEMPT_MOVES[AttemptState.UNKNOWN] == ended - {AttemptState.UNKNOWN}
    for state in ended - {AttemptState.UNKNOWN}:
        assert ATTEMPT_MOVES[state] == set()


@pytest.mark.parametrize(
    ("check", "states", "moves"),
    [
        (check_item_move, ItemState, ITEM_MOVES),
        (check_attempt_move, AttemptState, ATTEMPT_MOVES),
        (check_batch_move, BatchState, BATCH_MOVES),
    ],
)
def test_checks_follow_the_tables(check: Any, states: Any, moves: Moves) -> None:
    """Exactly the moves of the table are allowed; the error names both states."""
    for old in states:
        for new in states:
            if new in moves[old]:
                check(old, new)
            else:
                with pytest.raises(IllegalMoveError, match=f"{old.value} to {new.value}"):
                    check(old, new)


def test_picture_shows_every_move() -> None:
    """The picture in the documents has each arrow of each table."""
    text = picture()
    for moves in (ITEM_MOVES, ATTEMPT_MOVES, BATCH_MOVES):
        for old, news in moves.items():
            for new in news:
                assert f"{old.value} --> {new.value}" in text
