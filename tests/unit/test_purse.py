"""Which credits are spent first, and which expire: exact, in whatever order things end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from headrace.purse import Lot, Purse

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def lots(*amounts: int) -> Purse:
    """A purse with grants that expire an hour after one another, and ten credits that do not."""
    purse = Purse(10, 0)
    for place, amount in enumerate(amounts):
        purse = purse.with_lot(Lot(place, NOON + (place + 1) * HOUR, amount))
    return purse


def parts(purse: Purse) -> list[tuple[int, int]]:
    return [(lot.available, lot.held) for lot in purse.lots]


def test_what_expires_first_is_reserved_first() -> None:
    """Whatever the order of the grants; what does not expire comes last."""
    purse = lots(3, 4).with_lot(Lot(9, NOON + HOUR / 2, 2))
    assert [lot.grant_id for lot in purse.lots] == [9, 0, 1]
    assert parts(purse.reserved(4)) == [(0, 2), (1, 2), (4, 0)]
    assert parts(purse.reserved(15)) == [(0, 2), (0, 3), (0, 4)]


def test_what_is_posted_expires_first_and_what_returns_lasts_longest() -> None:
    """Of twelve held four are posted and five come back, at once or one by one."""
    held = lots(3, 4).reserved(12)
    at_once = held.caught_up(held.available + 5, held.held - 9)
    assert parts(at_once) == [(0, 0), (0, 3)]
    slowly = held
    for posted, back in ((1, 2), (0, 1), (3, 0), (0, 2)):
        slowly = slowly.caught_up(slowly.available + back, slowly.held - posted - back)
    assert slowly == at_once
    all_lots = lots(3, 4).reserved(7)
    assert parts(all_lots.caught_up(12, 5)) == [(0, 3), (2, 2)]


def test_held_credits_expire_when_they_come_back() -> None:
    """At the end of a grant what is available of it goes; what comes back later goes then."""
    purse = lots(6).reserved(4)
    left, gone = purse.expired(NOON + HOUR)
    assert (gone, left.available, parts(left)) == ({0: 2}, 10, [(0, 4)])
    assert left.expired(NOON + 2 * HOUR)[1] == {}
    back = left.caught_up(left.available + 3, left.held - 4)
    assert back.expired(NOON + HOUR)[1] == {0: 3}
    assert lots(6).expired(NOON + HOUR - timedelta(microseconds=1))[1] == {}


def test_balances_that_others_moved_stay_true() -> None:
    """A grant or reserve that was not told leaves no lot larger than what is there."""
    purse = lots(6)
    assert parts(purse.caught_up(purse.available - 4, 4)) == [(2, 4)]
    assert parts(purse.caught_up(purse.available + 100, 0)) == [(6, 0)]
    assert parts(purse.reserved(4).caught_up(112, 2)) == [(4, 2)]


class Coins:
    """The same rule, a coin at a time: each has its end, and is available, held or gone."""

    def __init__(self) -> None:
        self.available = [99] * 20
        self.held: list[int] = []
        self.gone: list[int] = []

    def reserve(self, amount: int) -> None:
        self.available.sort()
        self.held += self.available[:amount]
        del self.available[:amount]

    def post(self) -> None:
        self.held.remove(min(self.held))

    def back(self) -> None:
        coin = max(self.held)
        self.held.remove(coin)
        self.available.append(coin)

    def expire(self, hour: int) -> None:
        self.gone += [coin for coin in self.available if coin <= hour]
        self.available = [coin for coin in self.available if coin > hour]


moves = st.lists(
    st.tuples(st.sampled_from(["grant", "reserve", "end", "expire"]), st.integers(0, 6)),
    min_size=12,
    max_size=40,
)


@given(moves, st.randoms(use_true_random=False))
def test_sums_between_two_looks_say_as_much_as_every_single_move(moves: object, chance) -> None:  # type: ignore[no-untyped-def]
    """Posts and returns in any order, told by balances alone, leave what each coin would."""
    coins, purse, hour, gone = Coins(), Purse(20, 0), 0, 0
    available, held = 20, 0
    for number, (move, amount) in enumerate(moves):  # type: ignore[var-annotated, arg-type]
        if move == "end":
            for _ in range(min(amount, len(coins.held))):
                (coins.post if chance.random() < 0.5 else coins.back)()
            available, held = len(coins.available), len(coins.held)
            continue
        purse = purse.caught_up(available, held)
        if move == "grant":
            purse = purse.with_lot(Lot(number, NOON + (hour + amount + 1) * HOUR, amount))
            coins.available += [hour + amount + 1] * amount
        elif move == "expire":
            hour += amount
            purse, lost = purse.expired(NOON + hour * HOUR)
            gone += sum(lost.values())
            coins.expire(hour)
        else:
            purse, lost = purse.expired(NOON + hour * HOUR)
            gone += sum(lost.values())
            coins.expire(hour)
            taken = min(amount, purse.available)
            purse = purse.reserved(taken)
            coins.reserve(taken)
        available, held = purse.available, purse.held
        assert (available, held, gone) == (len(coins.available), len(coins.held), len(coins.gone))
        for lot in purse.lots:
            assert min(lot.available, lot.held) >= 0
        assert by_end(purse) == by_coin(coins)


def by_end(purse: Purse) -> dict[tuple[datetime, bool], int]:
    found: dict[tuple[datetime, bool], int] = {}
    for lot in purse.lots:
        for is_held, amount in ((False, lot.available), (True, lot.held)):
            if amount:
                key = (lot.expires_at, is_held)
                found[key] = found.get(key, 0) + amount
    return found


def by_coin(coins: Coins) -> dict[tuple[datetime, bool], int]:
    found: dict[tuple[datetime, bool], int] = {}
    for is_held, some in ((False, coins.available), (True, coins.held)):
        for coin in some:
            if coin != 99:
                key = (NOON + coin * HOUR, is_held)
                found[key] = found.get(key, 0) + 1
    return found


def test_a_purse_is_a_value() -> None:
    """What is done to it leaves it as it was."""
    purse = lots(3)
    before = replace(purse)
    purse.reserved(2)
    purse.expired(NOON + HOUR)
    assert purse == before
