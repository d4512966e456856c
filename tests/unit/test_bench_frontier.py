"""What a client that knows the rates reaches on a shared key."""

from __future__ import annotations

import pytest

from bench.frontier import Way, cases, send


def test_who_is_refused_more_uses_more() -> None:
    """On ten a second of which others take four, haste uses more and is refused more."""
    (case,) = cases(["shared"])
    careful, hasty = (send(Way(case, 6.0, over, 600.0)) for over in (-0.15, 0.1))
    assert 0.75 < careful.used < hasty.used <= 1.0
    assert 0.0 <= careful.refused < 0.01 < hasty.refused < 0.1


def test_shared_scenarios_are_found_and_others_refused() -> None:
    """All whose key others use are taken; a name that is not known or not shared is named."""
    assert {"shared", "shared-costly", "random-8"} <= {one.name for one in cases([])}
    with pytest.raises(LookupError, match="no scenario nope"):
        cases(["shared", "nope"])
    with pytest.raises(LookupError, match="told-gcra"):
        cases(["told-gcra"])
