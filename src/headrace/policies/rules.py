"""Words and patterns: judged on the spot, and told by the rule's name."""

from __future__ import annotations

from headrace.pattern import Pattern, TooDearError
from headrace.phrases import Phrases
from headrace.policy import Finding, Subject, When
from headrace.policy_table import RuleTable


def whens_of(on: str) -> frozenset[When]:
    """Return what a table's ``on`` stands for."""
    return frozenset(When) if on == "both" else frozenset({When(on)})


class WordRule:
    """One rule of a table; ``name`` is all that is told of it."""

    by_parts = False

    def __init__(self, table: RuleTable) -> None:
        self.name = table.name
        self.whens = whens_of(table.on)
        self._phrases = Phrases(table.words)
        self._patterns = [Pattern(one) for one in table.patterns]
        self._remedy = table.remedy or "Change what is asked for, or ask who runs this service."

    def find(self, subject: Subject) -> Finding | None:
        """Return the first thing in the text that the rule forbids."""
        if next(self._phrases.find(subject.words), None) is not None:
            return self._finding(subject)
        for pattern in self._patterns:
            try:
                if pattern.find(subject.folded) is not None:
                    return self._finding(subject)
            except TooDearError:
                reason = f"a pattern of the rule {self.name!r} is too costly for so long a text"
                return Finding(self.name, reason, "Shorten the text, or simplify the pattern.")
        return None

    def _finding(self, subject: Subject) -> Finding:
        return Finding(
            self.name, f"the rule {self.name!r} does not allow {told(subject)}", self._remedy
        )


def told(subject: Subject) -> str:
    """Return how a subject is called in messages, which never quote it."""
    return "this request" if subject.when is When.REQUEST else "this result"
