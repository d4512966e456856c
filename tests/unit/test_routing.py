"""Which model an item asks next, decided without I/O: what is kept, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cache import CacheMode
from headrace.course import Course, Passed
from headrace.errors import RecipeError
from headrace.gate import LaneShutError
from headrace.held import HeldBatch, HeldItem, OpenAttempt
from headrace.lifecycle import ItemState
from headrace.order import Order
from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import CrashClass
from headrace.providers.remote.following import JobFailed
from headrace.recipe import parse_recipe
from headrace.recovery import Again, leaves_open
from headrace.routing import (
    KEPT_CHARS_MAX,
    keep_request,
    made_by,
    options_of,
    order_of,
    passed_after,
    passed_shut,
    turn,
)
from headrace.stage import StageInput, requests_of
from headrace.stages import build_stages
from headrace.testing import SimulatedProvider

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NAMES = ("a", "b", "c")


def stage_of(**settings: Any) -> Any:
    table = {"kind": "generate", "name": "make", "prompt": "{{ t }}"}
    recipe = parse_recipe({"stages": [table | settings]}, "r.toml")
    return build_stages(recipe, {name: SimulatedProvider(name=name) for name in NAMES})[0]


def item_of(*models: Any, course: Course | None = None) -> HeldItem:
    stage = stage_of(models=list(models or ("a:m", "b:m", "c:m")))
    batch = HeldBatch(
        UUID(int=1), "default", "spring", (stage,), False, CacheMode.REUSE, "retry", 0, NOW,
        (Path(),),
    )  # fmt: skip
    return HeldItem(
        batch, 1, 1, 0, ItemState.PENDING, 0, 0, 1, 0, 0, 0, {"t": "tea"}, course=course or Course()
    )


def shut(order: Order, wait_s: float, *, briefly: bool = False) -> Outcome | None:
    why = LaneShutError("lane", wait_s, "used up", briefly=briefly)
    return turn(order, passed_shut(order, why, NOW), NOW)


def fails(order: Order, kind: OutcomeKind, *, probe: bool = False, **more: Any) -> Passed | None:
    outcome = Outcome(kind, "HTTP 503", **more)
    return passed_after(order, outcome, probe=probe, tries_max=5, now=NOW)


# -- the recipe --------------------------------------------------------------------------------


def test_models_are_texts_or_tables() -> None:
    """A model is a name, or a table with settings that stand over those of the stage."""
    stage = stage_of(
        models=["a:m", {"model": "n", "provider": "b", "prompt": "Paint {{ t }}", "seed": 7}],
        params={"size": 512, "style": {"tone": "warm"}},
        seed="{{ row_number }}",
    )
    first, second = requests_of(stage, StageInput({"t": "tea"}, {}, {}, None, 3, "x"))
    assert (first.provider, first.model, second.provider, second.model) == ("a", "m", "b", "n")
    assert first.params == {"prompt": "tea", "size": 512, "style": {"tone": "warm"}, "seed": 3}
    assert second.params == first.params | {"prompt": "Paint tea", "seed": 7}
    assert stage.columns() == {"t"}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"models": []}, "must be a list"),
        ({"models": "a:m"}, "must be a list"),
        ({"models": [3]}, r"models\[1\].*must be text or a table"),
        ({"models": ["a:m", "a:m"]}, "stands there twice"),
        ({"models": ["a:m"] * 9}, "too many"),
        ({"models": ["a:m", "m"]}, r"models\[2\].*does not say whose"),
        ({"models": ["a:m", "nobody:m"]}, r"models\[2\].*not configured"),
        ({"models": ["a:m", {"model": "b:m", "size": 3}]}, "has no setting 'size'"),
        ({"models": ["a:m", {"params": {}}]}, "'model' is missing"),
        ({"models": ["a:m", {"model": "b:m", "params": 3}]}, "must be a table"),
        ({"models": ["a:m"], "model": "b:m"}, "side by side"),
        ({"models": ["a:m"], "provider": "b"}, "side by side"),
        ({"models": ["a:m", "b:m"], "route": "fast"}, "not known"),
        ({"model": "a:m", "route": "price"}, "several models"),
    ],
)
def test_a_wrong_list_is_one_clear_error(settings: dict[str, Any], match: str) -> None:
    """What is wrong with a list of models is said with its place before anything starts."""
    with pytest.raises(RecipeError, match=match):
        stage_of(**settings)


# -- the request that the cache was asked for --------------------------------------------------


def looked_up(item: HeldItem) -> Any:
    options = options_of(item.batch.stages[item.stage], item.given())
    keep_request(item, options)
    return options[0].request


def test_a_request_is_built_once_for_the_cache_and_the_order() -> None:
    """What the cache was asked for is what is bought; the next order is built from what is then."""
    item = item_of("a:m")
    request = looked_up(item)
    order = order_of(item, NOW)
    assert order.request is request
    assert order.provider.name == "a"
    item.row["t"] = "coffee"
    assert order_of(item, NOW).request.params == {"prompt": "coffee"}


def test_a_kept_request_serves_its_own_stage_only() -> None:
    """An item that was served meanwhile asks for its next stage's request, not the last one's."""
    item = item_of("a:m")
    looked_up(item)
    assert item.asks is not None
    item.asks = (item.stage + 1, item.asks[1])
    item.row["t"] = "coffee"
    assert order_of(item, NOW).request.params == {"prompt": "coffee"}


@pytest.mark.parametrize(
    ("models", "text"), [(("a:m", "b:m"), "tea"), (("a:m",), "x" * (KEPT_CHARS_MAX + 1))]
)
def test_large_requests_and_those_of_several_models_are_not_kept(
    models: tuple[str, ...], text: str
) -> None:
    """A worker holds thousands of items: what takes room is built when it is needed."""
    item = item_of(*models)
    item.row["t"] = text
    looked_up(item)
    assert item.asks is None


# -- what is kept ------------------------------------------------------------------------------

_moments = st.none() | st.datetimes(timezones=st.just(UTC))
_flags = st.booleans()
_passed = st.builds(Passed, st.sampled_from(OutcomeKind), st.text(), _moments, _flags, _flags)
_courses = st.builds(
    Course, st.integers(0, 7), st.integers(1, 9), st.dictionaries(st.integers(0, 7), _passed)
)


@given(_courses)
def test_a_course_is_kept_whole(course: Course) -> None:
    """A course read back from its JSON is the same."""
    assert Course.from_json(course.to_json()) == course


def test_a_course_that_an_older_release_kept_is_read() -> None:
    """It did not say whether a model is shut until a time that renews."""
    told = {"kind": "quota_exhausted", "reason": "used up", "until": None, "briefly": False}
    course = Course.from_json({"at": 0, "tries": 0, "passed": {"0": told}})
    assert course.passed == {0: Passed(OutcomeKind.QUOTA_EXHAUSTED, "used up")}


def test_a_course_at_its_beginning_is_nothing() -> None:
    """An item that moved nowhere keeps nothing."""
    assert Course().to_json() is None
    assert Course.from_json(None) == Course()


# -- moving on ---------------------------------------------------------------------------------


def test_the_models_are_asked_in_turn_and_then_from_the_first() -> None:
    """Each shut lane turns the order to the next; when all are, the first to open is waited for."""
    order = order_of(item_of(), NOW)
    names = [order.option.name]
    for wait_s in (7200.0, 600.0):
        assert shut(order, wait_s) is None
        names.append(order.option.name)
    assert names == ["a/m", "b/m", "c/m"]
    fallen = shut(order, 3600.0)
    assert fallen is not None
    assert (fallen.kind, fallen.wait_s) == (OutcomeKind.QUOTA_EXHAUSTED, 600.0)
    assert fallen.reason.count("is shut: used up until 2026-11-21 1") == 3
    assert order.item.course == Course()


def test_two_failures_move_on_and_the_third_model_makes_it() -> None:
    """One failure stays, the second moves; who made it knows the reasons of all before."""
    order = order_of(item_of(), NOW)
    assert fails(order, OutcomeKind.TRANSIENT) is None
    passed = fails(order, OutcomeKind.TRANSIENT)
    assert passed is not None
    assert turn(order, passed, NOW) is None
    assert shut(order, 600.0) is None
    assert made_by(order).model == "m"
    assert made_by(order).why == (
        "a/m failed 2 times: HTTP 503; b/m is shut: used up until 2026-11-21 12:10 UTC"
    )


def test_all_failed_is_one_failed_try() -> None:
    """When every model has failed, the item is told so, retryably, and begins with the first."""
    order, fallen = order_of(item_of("a:m", "b:m"), NOW), None
    for _ in range(4):
        passed = fails(order, OutcomeKind.OVERLOADED)
        fallen = turn(order, passed, NOW) if passed is not None else None
    assert fallen is not None
    assert fallen.kind is OutcomeKind.OVERLOADED
    assert order_of(order.item, NOW).option.name == "a/m"


def test_who_is_failed_and_who_is_shut_is_tried_again_soon() -> None:
    """Where one model failed and the other is shut for hours, the item does not wait for hours."""
    order = order_of(item_of("a:m", "b:m"), NOW)
    fails(order, OutcomeKind.TRANSIENT)
    passed = fails(order, OutcomeKind.TRANSIENT)
    assert passed is not None
    assert turn(order, passed, NOW) is None
    fallen = shut(order, 3600.0)
    assert fallen is not None
    assert (fallen.kind, fallen.wait_s) == (OutcomeKind.TRANSIENT, None)


@pytest.mark.parametrize(
    "kind",
    [OutcomeKind.REFUSED, OutcomeKind.INVALID, OutcomeKind.NO_OUTPUT, OutcomeKind.RATE_LIMITED],
)
def test_what_another_model_would_not_mend_does_not_move(kind: OutcomeKind) -> None:
    """Content, an answer without output and a short rate limit pass nothing over."""
    order = order_of(item_of(), NOW)
    assert [fails(order, kind) for _ in range(5)] == [None] * 5


def test_in_an_outage_of_all_an_item_stands_in_line_at_one() -> None:
    """With every provider in trouble an item waits at the one to be looked at next, but not
    longer than until another is to be; it loses no try by that.
    """
    order = order_of(item_of("a:m", "b:m"), NOW)
    assert shut(order, 4.0, briefly=True) is None
    assert shut(order, 2.0, briefly=True) is None
    assert (order.option.name, order.patient, order.patience_s) == ("b/m", True, 4.0)
    later = NOW + timedelta(seconds=4)
    why = LaneShutError("lane", 5.0, "still", briefly=True)
    assert turn(order, passed_shut(order, why, later), later) is None
    assert (order.option.name, order.patient) == ("a/m", False)


def test_a_probe_that_fails_is_not_the_items_failure() -> None:
    """Who looked whether a provider works again moves at once, and no try is counted."""
    order = order_of(item_of(), NOW)
    passed = fails(order, OutcomeKind.TRANSIENT, probe=True)
    assert passed is not None
    assert passed.briefly
    assert order.item.course.tries == 0


def test_a_choice_whose_time_has_come_is_open_again() -> None:
    """A lane that was shut until noon is asked first again at noon."""
    until = Passed(OutcomeKind.QUOTA_EXHAUSTED, "shut", NOW)
    item = item_of(course=Course(passed={0: until}))
    assert order_of(item, NOW - timedelta(seconds=1)).option.name == "b/m"
    assert order_of(item, NOW).option.name == "a/m"


# -- unseen answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "lane"), [("b", "b/m"), ("c", "c/m")])
def test_an_open_attempt_is_gone_on_with_where_it_was_made(provider: str, lane: str) -> None:
    """Whatever is open, an attempt without an answer finds its own provider, by what it asked."""
    item = item_of()
    asked = {o.provider.name: o.request.fingerprint for o in order_of(item, NOW).options}
    item.open_attempt = OpenAttempt(1, 1, None, None, 0, provider, lane, asked[provider])
    assert order_of(item, NOW).option.provider.name == provider
    # Also where a new release would word the request otherwise.
    item.open_attempt = OpenAttempt(1, 1, None, None, 0, provider, lane, bytes(32))
    assert order_of(item, NOW).option.provider.name == provider


def test_one_of_two_accounts_is_told_by_its_name() -> None:
    """Two params for one model of one provider are told apart by the request."""
    low, high = {"model": "a:m", "params": {"q": 1}}, {"model": "a:m", "params": {"q": 2}}
    item = item_of(low, high)
    second = order_of(item, NOW).options[1].request.fingerprint
    item.open_attempt = OpenAttempt(1, 1, None, None, 0, "a", "a/m", second)
    assert order_of(item, NOW).option.place == 1


def test_an_unseen_answer_may_not_turn() -> None:
    """Only a purchase that the policy allows to be made anew may be made elsewhere."""
    order = order_of(item_of(), NOW)
    assert order.may_turn
    order.again = Again(1, 1)
    assert not order.may_turn
    order.again = Again(1, 2, repeats=True)
    assert order.may_turn


_RESUMED = Again(1, 1, resume=("id", None))
_SENT = OpenAttempt(1, 1, None, None, 0, "b", "b/m", bytes(32))
_ACCEPTED = OpenAttempt(1, 1, "id", None, 0, "b", "b/m", bytes(32))


@pytest.mark.parametrize(
    ("crash_class", "attempt", "again", "kind", "is_open"),
    [
        (CrashClass.KEYED, _SENT, Again(1, 1), OutcomeKind.TRANSIENT, True),
        (CrashClass.KEYED, _SENT, Again(1, 1), OutcomeKind.RATE_LIMITED, True),
        (CrashClass.LISTED, _SENT, Again(1, 1), OutcomeKind.QUOTA_EXHAUSTED, True),
        (CrashClass.KEYED, _SENT, Again(1, 1), OutcomeKind.REFUSED, False),
        (CrashClass.KEYED, _SENT, None, OutcomeKind.TRANSIENT, False),
        (CrashClass.PURE, _SENT, Again(1, 1), OutcomeKind.TRANSIENT, False),
        (CrashClass.BLIND, _SENT, Again(1, 2, repeats=True), OutcomeKind.TRANSIENT, False),
        (CrashClass.POLLED, _SENT, None, OutcomeKind.AUTH, False),
        (CrashClass.POLLED, _ACCEPTED, None, OutcomeKind.AUTH, True),
        (CrashClass.POLLED, _ACCEPTED, _RESUMED, OutcomeKind.TRANSIENT, True),
        (CrashClass.POLLED, _ACCEPTED, _RESUMED, OutcomeKind.CANCELLED, False),
        (CrashClass.POLLED, _ACCEPTED, _RESUMED, OutcomeKind.REFUSED, False),
        (CrashClass.BLIND, _ACCEPTED, None, OutcomeKind.TRANSIENT, False),
    ],
)
def test_what_says_nothing_about_the_first_call_leaves_it_open(
    crash_class: CrashClass,
    attempt: OpenAttempt,
    again: Again | None,
    kind: OutcomeKind,
    is_open: bool,
) -> None:
    """Asking again, or after an accepted call, may fail without saying anything about that call."""
    assert leaves_open(crash_class, attempt, again, Outcome(kind)) is is_open


def test_a_job_that_has_failed_is_over() -> None:
    """What a provider says of the job itself settles it, whatever its kind."""
    for kind in OutcomeKind:
        failure = JobFailed(Outcome(kind, "E1000"))
        assert not leaves_open(CrashClass.POLLED, _ACCEPTED, None, failure.outcome)
