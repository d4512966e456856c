"""The ``[policy]`` table, of the settings or of a recipe: read, and every mistake told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from headrace.errors import HeadraceError
from headrace.nearest import did_you_mean
from headrace.pattern import Pattern, PatternError
from headrace.phrases import has_words
from headrace.webhook_signature import check_standard_secret

WORDS_MAX = 5_000
WORD_CHARS_MAX = 200
PATTERNS_MAX = 100
RULES_MAX = 100
HOOKS_MAX = 8
TIMEOUT_S_MAX = 60.0
ATTEMPTS_MAX = 10
ON = ("request", "artifact", "both")
KINDS = ("http", "moderation")
FAILURES = ("closed", "open")
_RULE_KEYS = ("name", "words", "patterns", "on", "remedy")
_HOOK_KEYS = (
    "name", "kind", "url", "secret", "provider", "model", "thresholds", "on", "timeout_s",
    "attempts", "on_failure", "concurrency",
)  # fmt: skip
_TOP_KEYS = ("words", "patterns", "remedy", "rules", "hooks")


@dataclass(frozen=True)
class RuleTable:
    """Words and patterns under one name, and what is told to whom they hit."""

    name: str
    words: tuple[str, ...]
    patterns: tuple[str, ...]
    on: str
    remedy: str


@dataclass(frozen=True)
class HookTable:
    """Somebody who is asked.

    ``trusted``: an operator's, which may be on a private address and reached without TLS;
    a recipe's may not. ``open`` lets pass what it gives no verdict on.
    """

    name: str
    kind: str
    url: str
    secret: str
    provider: str
    model: str
    thresholds: Mapping[str, float]
    on: str
    timeout_s: float
    attempts: int
    open: bool
    concurrency: int
    trusted: bool
    place: str


@dataclass(frozen=True)
class PolicyTable:
    """What one ``[policy]`` table says."""

    rules: tuple[RuleTable, ...] = ()
    hooks: tuple[HookTable, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Tell whether it adds nothing."""
        return not self.rules and not self.hooks


def read_policy(
    table: Any, place: str, wrong: type[HeadraceError], *, trusted: bool
) -> PolicyTable:
    """Return what a table says; raises ``wrong`` with the place and the remedy."""
    return _Reader(place, wrong, trusted).policy(table)


class _Reader:
    """Reads one table; ``wrong`` is what its owner's mistakes are told as."""

    def __init__(self, place: str, wrong: type[HeadraceError], trusted: bool) -> None:
        self._place = place
        self._wrong_kind = wrong
        self._trusted = trusted

    def policy(self, table: Any) -> PolicyTable:
        """Return the whole table."""
        place = f"{self._place} [policy]"
        self._known(table, _TOP_KEYS, place)
        rules = []
        if table.get("words") or table.get("patterns"):
            short = {key: value for key, value in table.items() if key in _RULE_KEYS}
            rules.append(self._rule({"name": "policy", **short}, place))
        else:
            for key in ("words", "patterns", "remedy"):
                self._texts(table, key, place) if key != "remedy" else self._text(table, key, place)
        for number, one in enumerate(self._tables(table, "rules", RULES_MAX, place), 1):
            rules.append(self._rule(one, f"{self._place} [[policy.rules]] {number}"))
        hooks = [
            self._hook(one, f"{self._place} [[policy.hooks]] {number}")
            for number, one in enumerate(self._tables(table, "hooks", HOOKS_MAX, place), 1)
        ]
        names = [one.name for one in rules] + [one.name for one in hooks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise self._wrong(f"two of them are named {twice[0]!r}", "Rename one.", place)
        return PolicyTable(tuple(rules), tuple(hooks), dict(table))

    def _rule(self, table: Any, place: str) -> RuleTable:
        self._known(table, _RULE_KEYS, place)
        words = self._texts(table, "words", place)
        patterns = self._texts(table, "patterns", place)
        name = self._name(table, place)
        if not words and not patterns:
            raise self._wrong("a rule without words or patterns", 'Add words = ["…"].', place)
        for count, most, what in (
            (len(words), WORDS_MAX, "words"),
            (len(patterns), PATTERNS_MAX, "patterns"),
        ):
            if count > most:
                raise self._wrong(f"{count:,} {what} are more than {most:,}", "Take some.", place)
        for word in words:
            if len(word) > WORD_CHARS_MAX or not has_words(word):
                raise self._wrong(
                    f"{word[:60]!r} in words is no word",
                    f"Write 1 to {WORD_CHARS_MAX} characters with a letter; '*' at the end only.",
                    place,
                )
        for pattern in patterns:
            try:
                Pattern(pattern)
            except PatternError as error:
                raise self._wrong(error.message, error.remedy, place) from error
        return RuleTable(
            name, words, patterns, self._choice(table, "on", ON, "both", place),
            self._text(table, "remedy", place),
        )  # fmt: skip

    def _hook(self, table: Any, place: str) -> HookTable:
        keys = (*_HOOK_KEYS, "secret_env") if self._trusted else _HOOK_KEYS
        self._known(table, keys, place)
        name = self._name(table, place)
        kind = self._choice(table, "kind", KINDS, "http", place)
        url, provider = self._text(table, "url", place), self._text(table, "provider", place)
        if kind == "http":
            self._check_url(url, place)
        elif not provider:
            raise self._wrong("whose moderation is asked?", 'Add provider = "openai".', place)
        secret = self._secret(table, place)
        return HookTable(
            name=name,
            kind=kind,
            url=url,
            secret=secret,
            provider=provider,
            model=self._text(table, "model", place) or "omni-moderation-latest",
            thresholds=self._thresholds(table, place),
            on=self._choice(table, "on", ON, "both", place),
            timeout_s=self._number(table, "timeout_s", 0.1, TIMEOUT_S_MAX, 5.0, place),
            attempts=int(self._number(table, "attempts", 1, ATTEMPTS_MAX, 3, place)),
            open=self._choice(table, "on_failure", FAILURES, "closed", place) == "open",
            concurrency=int(self._number(table, "concurrency", 1, 1000, 16, place)),
            trusted=self._trusted,
            place=place,
        )

    def _secret(self, table: Mapping[str, Any], place: str) -> str:
        secret, variable = self._text(table, "secret", place), ""
        if self._trusted:
            variable = self._text(table, "secret_env", place)
            secret = secret or (os.environ.get(variable, "") if variable else "")
        if variable and not secret:
            raise self._wrong(f"the variable {variable!r} is not set", "Set it.", place)
        if secret:
            try:
                check_standard_secret(secret)
            except HeadraceError as error:
                raise self._wrong(error.message, "Write whsec_ and base64.", place) from error
        return secret

    def _check_url(self, text: str, place: str) -> None:
        try:
            url = URL(text)
            good = url.absolute and url.scheme in ("http", "https") and bool(url.host)
        except ValueError:
            good = False
        if not good:
            raise self._wrong(f"url = {text[:100]!r} is no address", 'url = "https://…"', place)
        if url.user or url.password:
            raise self._wrong("the address has a password in it", "Use secret instead.", place)
        if not self._trusted and url.scheme != "https":
            raise self._wrong(f"{text[:100]!r} is not https", "A recipe's hook is.", place)

    def _thresholds(self, table: Mapping[str, Any], place: str) -> dict[str, float]:
        told = table.get("thresholds", {})
        if not isinstance(told, dict):
            raise self._wrong("thresholds is no table", "thresholds = { violence = 0.5 }", place)
        for name, value in told.items():
            number = not isinstance(value, bool) and isinstance(value, int | float)
            if not number or not 0 <= value <= 1:
                raise self._wrong(f"{name} = {value!r} is not between 0 and 1", "", place)
        return {name: float(value) for name, value in told.items()}

    # -- values ------------------------------------------------------------------------------

    def _known(self, table: Any, known: tuple[str, ...], place: str) -> None:
        if not isinstance(table, dict):
            raise self._wrong(f"{str(table)[:60]!r} is not a table", "", place)
        for key in table:
            if key not in known:
                raise self._wrong(f"unknown key {key!r}", did_you_mean(key, known), place)

    def _tables(self, table: Mapping[str, Any], key: str, most: int, place: str) -> list[Any]:
        told = table.get(key, [])
        if not isinstance(told, list) or len(told) > most:
            raise self._wrong(f"{key} is no list of {most} at most", f"[[policy.{key}]]", place)
        return told

    def _name(self, table: Mapping[str, Any], place: str) -> str:
        name = self._text(table, "name", place)
        if not name or len(name) > 64 or not name.isprintable():
            raise self._wrong(f"{name[:60]!r} is no name", 'Add name = "gambling", say.', place)
        return name

    def _text(self, table: Mapping[str, Any], key: str, place: str) -> str:
        value = table.get(key, "")
        if not isinstance(value, str):
            raise self._wrong(f"{key} = {str(value)[:60]} is not a text", "", place)
        return value

    def _texts(self, table: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._wrong(f"{key} is not a list of texts", f'{key} = ["…"]', place)
        return tuple(value)

    def _choice(
        self, table: Mapping[str, Any], key: str, known: tuple[str, ...], default: str, place: str
    ) -> str:
        value = table.get(key, default)
        if value not in known:
            remedy = did_you_mean(str(value), known)
            raise self._wrong(f"{key} = {str(value)[:60]!r} is not known", remedy, place)
        return str(value)

    def _number(
        self, table: Mapping[str, Any], key: str, least: float, most: float, default: float,
        place: str,
    ) -> float:  # fmt: skip
        value = table.get(key, default)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not least <= value <= most:
            said = f"{key} = {str(value)[:60]} is not {least:g} to {most:g}"
            raise self._wrong(said, f"{key} = {default:g}", place)
        return float(value)

    def _wrong(self, message: str, remedy: str, place: str) -> HeadraceError:
        return self._wrong_kind(message, remedy=remedy, place=place)
