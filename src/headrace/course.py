"""How far an item is through its stage's models, and which model made what: as it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headrace.outcome import OutcomeKind


@dataclass(frozen=True, slots=True)
class Passed:
    """Why an item passed a choice over, and until when that is known to hold.

    ``until`` is ``None`` where its own tries failed. ``briefly``: its provider is in trouble,
    which may be over at any moment. ``renews``: it is over by itself at ``until``.
    """

    kind: OutcomeKind
    reason: str
    until: datetime | None = None
    briefly: bool = False
    renews: bool = False


@dataclass(slots=True)
class Course:
    """Where an item is in the list of its stage's choices, by their places in the recipe.

    ``tries`` failed at the choice ``at``; those in ``passed`` are not asked (again) for now.
    """

    at: int = 0
    tries: int = 0
    passed: dict[int, Passed] = field(default_factory=dict)

    def tries_at(self, place: int) -> int:
        """Return how many tries have failed at a choice since the item came to it."""
        return self.tries if self.at == place else 0

    def failed_at(self, place: int) -> int:
        """Count a failed try at a choice; return how many there are."""
        self.at, self.tries = place, self.tries_at(place) + 1
        return self.tries

    def is_passed(self, place: int, now: datetime) -> bool:
        """Tell whether a choice is not to be asked now."""
        passed = self.passed.get(place)
        return passed is not None and (passed.until is None or passed.until > now)

    def to_json(self) -> dict[str, Any] | None:
        """Return the course as JSON; ``None`` at its beginning."""
        if not self.tries and not self.passed:
            return None
        passed = {
            str(place): {
                "kind": one.kind.value,
                "reason": one.reason,
                "until": None if one.until is None else one.until.isoformat(),
                "briefly": one.briefly,
                "renews": one.renews,
            }
            for place, one in self.passed.items()
        }
        return {"at": self.at, "tries": self.tries, "passed": passed}

    @classmethod
    def from_json(cls, told: dict[str, Any] | None) -> Course:
        """Return the course that ``to_json`` wrote."""
        if told is None:
            return cls()
        passed = {
            int(place): Passed(
                OutcomeKind(one["kind"]),
                one["reason"],
                None if one["until"] is None else datetime.fromisoformat(one["until"]),
                one["briefly"],
                one.get("renews", False),  # an older release did not say
            )
            for place, one in told["passed"].items()
        }
        return cls(told["at"], told["tries"], passed)


@dataclass(frozen=True, slots=True)
class Made:
    """Which model made a stage's artifact, and ``why`` not the first choice (``None``: it did)."""

    provider: str
    model: str
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"provider": self.provider, "model": self.model, "why": self.why}
