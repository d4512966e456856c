"""Policies: from the ``[policy]`` tables of the settings and of a recipe to what judges a batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.fingerprint import fingerprint
from headrace.policies.http_hook import HttpHook
from headrace.policies.moderation import ModerationHook
from headrace.policies.never import MinorsRule, never_version
from headrace.policies.rules import WordRule
from headrace.policy import Hook, Policy
from headrace.policy_table import HookTable, PolicyTable, read_policy
from headrace.provider import Provider

POLICIES_MAX = 256

__all__ = ["Policies"]


class Policies:
    """The policies of a process: the built-in rule first, then the settings', then a recipe's."""

    def __init__(
        self, table: Mapping[str, Any], providers: Mapping[str, Provider], clock: Clock
    ) -> None:
        self._table = read_policy(dict(table), "settings", ConfigError, trusted=True)
        self._providers = providers
        self._clock = clock
        self._never = MinorsRule()
        self._own: Policy | None = None
        self._known: dict[bytes, Policy] = {}
        self._hooks: list[Hook] = []

    def of(self, more: PolicyTable) -> Policy:
        """Return the policy of a recipe that adds ``more``; raises ``HeadraceError``."""
        if self._own is None:
            self._own = self._built(self._table, ())
        if more.is_empty:
            return self._own
        key = fingerprint(_plain(more))
        if key not in self._known:
            self._known[key] = self._built(more, (self._own,))
            if len(self._known) > POLICIES_MAX:
                self._known.pop(next(iter(self._known)))
        return self._known[key]

    async def prepare(
        self, more: PolicyTable, opened: Callable[[Provider], Awaitable[None]]
    ) -> None:
        """Build the policy of a recipe and let ``opened`` open what its hooks ask through."""
        for hook in self.of(more).hooks:
            if hook.provider is not None:
                await opened(hook.provider)

    async def close(self) -> None:
        """Close the connections of all hooks."""
        for hook in self._hooks:
            await hook.close()

    def _built(self, table: PolicyTable, before: tuple[Policy, ...]) -> Policy:
        rules = [rule for policy in before for rule in policy.rules] or [self._never]
        hooks = [hook for policy in before for hook in policy.hooks]
        told = [*(policy.fingerprint for policy in before), never_version(), _plain(table)]
        return Policy(
            (*rules, *(WordRule(one) for one in table.rules)),
            (*hooks, *(self._hook(one) for one in table.hooks)),
            fingerprint(told).hex(),
        )

    def _hook(self, table: HookTable) -> Hook:
        made: Hook
        if table.kind == "http":
            made = HttpHook(table, self._clock)
        else:
            made = ModerationHook(table, self._providers, self._clock)
        self._hooks.append(made)
        return made


def _plain(table: PolicyTable) -> list[Any]:
    """Return what of a table shapes its verdicts, as JSON: no secrets, no patience."""
    rules = [[one.name, list(one.words), list(one.patterns), one.on] for one in table.rules]
    hooks = [
        [one.name, one.kind, one.url, one.provider, one.model, one.on, one.open, _scores(one)]
        for one in table.hooks
    ]
    return [rules, hooks]


def _scores(table: HookTable) -> list[list[str]]:
    return sorted([name, repr(value)] for name, value in table.thresholds.items())
