"""``policy check``: what the policy makes of a text, and which rule it is that it hits."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, line

if TYPE_CHECKING:
    from headrace.policy import Finding, Policy, Subject

TEXT_BYTES_MAX = 4 * 1024 * 1024
REFUSED_EXIT = 3


def check(
    text: Annotated[str, Parameter(help="The text; - reads standard input.")],
    *,
    recipe: Annotated[str | None, Parameter(help="With what this recipe adds.")] = None,
    ask: Annotated[bool, Parameter(help="Ask the hooks, too.")] = False,
    common: Common | None = None,
) -> int:
    """Say whether a text may be asked for; exit 3 where it may not."""

    async def work() -> int:
        from headrace.clock import SystemClock
        from headrace.engine import Policies, shelf_of
        from headrace.log_lines import write_logs
        from headrace.policy import Subject, When
        from headrace.policy_table import PolicyTable
        from headrace.recipe import find_recipe

        write_logs()
        said = text
        if text == "-":
            said = sys.stdin.buffer.read(TEXT_BYTES_MAX).decode("utf-8", "replace")
        config, clock = (common or Common()).settings(), SystemClock()
        shelf = shelf_of(config, clock)
        policies = Policies(config.policy, shelf, clock)
        more = PolicyTable() if recipe is None else find_recipe(recipe).policy
        policy = policies.of(more)
        subject = Subject(When.REQUEST, "default", "", "", "", said)
        found = _by_rules(policy, subject)
        try:
            await policies.prepare(more, shelf.open)
            asked = await _ask(policy, subject, found) if ask else []
        finally:
            await policies.close()
            await shelf.close()
        hooks = [hook.name for hook in policy.hooks]
        if common is not None and common.json:
            rows = [
                {"when": when, "rule": one.rule, "reason": one.reason, "remedy": one.remedy}
                for when, one in found
            ]
            data({"allowed": not found, "found": rows, "hooks": hooks, "asked": asked})
        else:
            for when, one in found:
                line(f"{when}: refused by {one.rule!r}: {one.reason}")
                line(f"  → {one.remedy}")
            if not found:
                line("allowed" if ask or not hooks else f"allowed by the rules; {hooks} not asked")
            for word in asked:
                line(word)
        return REFUSED_EXIT if found else 0

    return int(on_loop(work()))


def _by_rules(policy: Policy, subject: Subject) -> list[tuple[str, Finding]]:
    """Return what the rules find, as a request and as an artifact."""
    found = []
    for when in type(subject.when):
        of = replace(subject, when=when)
        for rule in policy.rules_for(when):
            finding = rule.find(of)
            if finding is not None:
                found.append((when.value, finding))
    return found


async def _ask(policy: Policy, subject: Subject, found: list[tuple[str, Finding]]) -> list[str]:
    """Ask the hooks, add what they find, and return a line for each."""
    from headrace.policy import AwayError

    asked = []
    for hook in policy.hooks_for(subject.when):
        try:
            finding = await hook.ask(subject)
        except AwayError as away:
            asked.append(f"{hook.name}: gives no verdict ({away.why})")
            continue
        if finding is not None:
            found.append((subject.when.value, finding))
        asked.append(f"{hook.name}: {'refuses' if finding else 'lets pass'}")
    return asked
