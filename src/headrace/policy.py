"""The policy contract: what may be asked for and handed out, and who is asked about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from headrace.artifact import Artifact
from headrace.folding import Word, folded, words
from headrace.provider import Provider


class When(StrEnum):
    """What is judged: a request, before anything is bought, or the artifact that it gave."""

    REQUEST = "request"
    ARTIFACT = "artifact"


@dataclass(frozen=True)
class Finding:
    """Why something is not allowed: the name of the rule, and words for people.

    Neither ``reason`` nor ``remedy`` quotes what was judged.
    """

    rule: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Subject:
    """What is judged.

    ``text`` are all texts of the request, or the artifact's where it is text; ``pictures``
    the SHA-256 digests (hex) of the pictures that go in. ``artifact`` and its ``body`` are
    there for an artifact; a body that is too large is ``None``.
    """

    when: When
    tenant_id: str
    stage: str
    provider: str
    model: str
    text: str
    pictures: tuple[str, ...] = ()
    artifact: Artifact | None = None
    body: bytes | None = None

    @cached_property
    def folded(self) -> str:
        """Return the text as rules compare it."""
        return folded(self.text)

    @cached_property
    def words(self) -> list[Word]:
        """Return the words of the folded text."""
        return words(self.folded)


class AwayError(Exception):
    """A hook gives no verdict, and what it has not seen may not pass."""

    def __init__(self, hook: str, why: str) -> None:
        super().__init__(f"{hook}: {why}")
        self.hook = hook
        self.why = why


class Rule(Protocol):
    """Judges texts on the spot, in time that grows with the text."""

    @property
    def whens(self) -> frozenset[When]:
        """Return what it judges."""
        ...

    @property
    def by_parts(self) -> bool:
        """Tell whether a beginning of a text that it lets pass may be told before the end."""
        ...

    def find(self, subject: Subject) -> Finding | None:
        """Return what is wrong with the text, ``None`` if nothing is."""
        ...


class Hook(Protocol):
    """Somebody outside who is asked; it sees pictures as well."""

    @property
    def name(self) -> str:
        """Return the name by which people know it."""
        ...

    @property
    def whens(self) -> frozenset[When]:
        """Return what it judges."""
        ...

    @property
    def provider(self) -> Provider | None:
        """Return the provider through which it asks, to be opened before."""
        ...

    async def ask(self, subject: Subject) -> Finding | None:
        """Return what is wrong, ``None`` if nothing is; raises ``AwayError``."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


@dataclass(frozen=True)
class Policy:
    """All that judges a batch, in the order in which it is asked.

    ``fingerprint`` (hex) changes with what is judged how: a result that was judged under
    the same one need not be judged again.
    """

    rules: tuple[Rule, ...] = ()
    hooks: tuple[Hook, ...] = ()
    fingerprint: str = ""

    def rules_for(self, when: When) -> list[Rule]:
        """Return the rules that judge requests, or artifacts."""
        return [rule for rule in self.rules if when in rule.whens]

    def hooks_for(self, when: When) -> list[Hook]:
        """Return the hooks that judge requests, or artifacts."""
        return [hook for hook in self.hooks if when in hook.whens]
