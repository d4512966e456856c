"""What is cut next: fair order, express shards for everybody, sizes by pace."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from headrace.cutting import (
    EXPRESS_ITEMS_MAX,
    FIRST_ITEMS,
    Line,
    Pace,
    Plan,
    Room,
    shard_size,
    worth,
)

ITEMS_MAX = 500


def line(number: int, items: int = 1000, present: bool = False, name: str = "batch") -> Line:
    return Line(f"t{number:04}", name, 1, present, UUID(int=number), 0, items)


def plan(lines: list[Line], shards: int, express: int, level: int = 0, **counters: int) -> Plan:
    known = {one.tenant_id: counters.get(one.tenant_id, 0) for one in lines}
    return Plan(lines, known, level, Room(4, shards, express), ITEMS_MAX, {})


@given(
    st.lists(
        st.tuples(st.integers(0, 700), st.booleans(), st.sampled_from(["interactive", "batch"])),
        max_size=20,
    ),
    st.integers(0, 12),
    st.integers(0, 30),
)
def test_each_row_is_cut_once_and_within_the_room(
    given_lines: list[tuple[int, bool, str]], shards: int, express: int
) -> None:
    """Pieces of a batch join without gap or overlap, and are no more than there is room for."""
    lines = [line(at, *rest) for at, rest in enumerate(given_lines)]
    made = plan(lines, shards, express)
    assert sum(piece.express for piece in made.pieces) <= express
    assert sum(not piece.express for piece in made.pieces) <= shards
    reached: Counter[UUID] = Counter()
    for piece in made.pieces:
        assert piece.idx_from == reached[piece.batch_id] <= piece.idx_to
        reached[piece.batch_id] = piece.idx_to + 1
        if piece.express:
            assert piece.idx_to - piece.idx_from < EXPRESS_ITEMS_MAX
    assert all(one.cut_idx == reached[one.batch_id] <= one.end_idx for one in lines)


def test_whoever_has_nothing_at_a_gate_gets_an_express_shard_without_room() -> None:
    """A queue full of one tenant's shards keeps nobody out."""
    made = plan([line(0, present=True), line(1), line(2)], shards=0, express=64)
    assert [(piece.batch_id.int, piece.express) for piece in made.pieces] == [(1, True), (2, True)]


def test_a_single_express_shard_is_followed_before_it_ends() -> None:
    """Who is at a gate with one express shard gets the next, after those who have none."""
    lines = [line(0, present=True), line(1, present=True), line(2)]
    lines[0].thin = True
    made = plan(lines, shards=0, express=64)
    assert [(piece.batch_id.int, piece.express) for piece in made.pieces] == [(2, True), (0, True)]


def test_interactive_work_is_always_express_and_leaves_places() -> None:
    """Not more than half of the places for those who are at the gates already."""
    lines = [line(0, 5000, True, "interactive"), line(1, present=True)]
    made = plan(lines, shards=8, express=64)
    assert Counter((piece.batch_id.int, piece.express) for piece in made.pieces) == {
        (0, True): 32,
        (1, False): 8,
    }


def test_a_thousand_tenants_come_round_before_any_comes_twice() -> None:
    """With fewer places than tenants, places go to the least served, an item each."""
    lines = [line(number) for number in range(1000)]
    counters, level, came = {one.tenant_id: 0 for one in lines}, 0, []
    while len(came) < 2000:
        made = Plan(lines, counters, level, Room(4, 0, 64), ITEMS_MAX, {})
        assert all(piece.idx_to == piece.idx_from for piece in made.pieces)
        came += [piece.batch_id.int for piece in made.pieces]
        counters, level = made.counters, made.level
    assert sorted(came[:1000]) == list(range(1000))
    assert sorted(came[1000:2000]) == list(range(1000))


def test_a_tenant_that_comes_back_has_earned_no_credit() -> None:
    """Its counter is lifted to the least of those that had work, so it takes turns."""
    lines = [line(0, 100_000, True), line(1, 100_000, True)]
    made = plan(lines, shards=8, express=0, level=9_000, t0000=9_000, t0001=0)
    assert Counter(piece.batch_id.int for piece in made.pieces) == {0: 4, 1: 4}


def test_due_items_go_first_and_in_the_same_order_between_tenants() -> None:
    """One tenant with hundreds of items that waited hides nobody else's one."""
    heavy, light = line(0, 0), line(1, 0)
    heavy.due = [(UUID(int=0), list(range(500, 0, -1)))]
    light.due = [(UUID(int=1), [7])]
    made = plan([heavy, light], shards=2, express=64)
    first = {piece.batch_id.int: piece for piece in made.pieces if piece.express}
    assert first[1].idxs == [7]
    assert first[0].idxs == list(range(491, 501))
    whole = [piece for piece in made.pieces if not piece.express]
    assert {piece.batch_id.int for piece in whole} == {0}


def test_shards_are_worth_half_a_minute_of_their_batch() -> None:
    """Slow lanes get small shards, fast ones full ones, unknown ones something to learn from."""
    assert worth(None) == FIRST_ITEMS
    assert worth(Pace(items=40, items_max=10, seconds=120.0)) == 10
    assert worth(Pace(items=3, items_max=3, seconds=0.0)) == 60
    assert worth(Pace(items=2000, items_max=500, seconds=1.0)) == 10_000
    assert shard_size(100_000, 500, 4, 3) == 10
    assert shard_size(100_000, 500, 4, 10_000) == 500
    assert shard_size(100, 500, 4, 10_000) == 25
    assert shard_size(3, 500, 4, 10_000) == 3
    assert shard_size(100, 5, 4, 10_000) == 5


def test_batches_of_two_recipes_are_cut_side_by_side() -> None:
    """A tenant's next recipe, whose provider may be idle, does not wait until the first is cut."""
    lines = [line(0, 100_000, True), line(0, 100_000, True)]
    lines[1].batch_id, lines[0].open = UUID(int=1), 3
    made = plan(lines, shards=5, express=0)
    assert [piece.batch_id.int for piece in made.pieces] == [1, 1, 1, 0, 1]


def test_a_tenant_with_many_recipes_is_served_no_more_than_others() -> None:
    """Recipes share what is their tenant's."""
    lines = [line(0, 100_000, True) for _ in range(5)] + [line(1, 100_000, True)]
    made = plan(lines, shards=8, express=0)
    assert Counter(piece.batch_id.int for piece in made.pieces) == {0: 4, 1: 4}


def test_a_tenant_at_its_cap_of_calls_fills_no_queue() -> None:
    """No more is cut of it than keeps it at its cap; what that leaves is cut of the others."""
    lines = [line(0, 100_000, True), line(1, 100_000, True)]
    lines[0].calls_max = 3
    made = plan(lines, shards=10, express=0)
    cut = Counter(piece.batch_id.int for piece in made.pieces)
    assert cut == {0: 2, 1: 8}
    urgent = line(2, 100_000, name="interactive")
    urgent.calls_max = 1
    assert len(plan([urgent], shards=10, express=64).pieces) == 2


def test_a_wide_cap_is_fed_and_a_capped_tenant_that_is_nowhere_comes_in() -> None:
    """Twice what may be in flight is open; none at a gate gets its express shard all the same."""
    lines = [line(0, 100_000, True), line(1, 100_000)]
    lines[0].calls_max, lines[0].shards, lines[0].items = 50, 2, 50
    lines[1].calls_max, lines[1].shards, lines[1].items = 1, 9, 900
    made = plan(lines, shards=10, express=10)
    assert [piece.express for piece in made.pieces if piece.batch_id.int == 1] == [True]
    assert sum(piece.batch_id.int == 0 for piece in made.pieces) == 2
