"""Judges what is asked for and what came of it, by the batch's policy, once for each.

A request is judged before its permit and its write-ahead: what is not allowed costs nothing.
An artifact is judged before it is delivered or given to others. The fingerprint of the
policy stands with the cached result, so that neither is judged again under the same one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from headrace.artifact import Artifact
from headrace.cache import CacheHit
from headrace.clock import Clock
from headrace.errors import NotFoundError, StorageError
from headrace.held import HeldItem
from headrace.order import Order
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.policy import AwayError, Finding, Policy, Subject, When
from headrace.request import Request
from headrace.stage import Stage
from headrace.telemetry import log
from headrace.tool_calls import judged_text

MARK = "policies"
"""Among a cached result's facts: the fingerprints of the policies that let it pass."""
MARKS_MAX = 8
PAID_BY = "paid_by"
"""Among the facts of a result that waits to be judged: the batch and row that paid for it."""

GENERATING = frozenset({"generate", "call"})
"""Kinds of stages whose requests and artifacts go to hooks too."""
WORDED = GENERATING | {"render", "compose", "watermark"}
"""Kinds of stages whose requests hold words of people's. A check's hold what is forbidden."""

TEXT_CHARS_MAX = 4 * 1024 * 1024
BODY_BYTES_MAX = 20 * 1024 * 1024
LOOP_CHARS_MAX = 32 * 1024
"""A longer text is judged off the event loop."""
KNOWN_MAX = 10_000
PATIENCE_TRIES = 5
PATIENCE_S = 30.0

_NOT_JUDGED = frozenset({"negative_prompt", "role", "type"})
_TEXTS = ("text/", "application/json")
_Key = tuple[Any, ...]


def is_marked(facts: dict[str, Any], policy: Policy) -> bool:
    """Tell whether a cached result was judged under the same policy."""
    return policy.fingerprint in facts.get(MARK, ())


def marked(facts: dict[str, Any], policy: Policy) -> dict[str, Any]:
    """Return the facts of a result that the policy let pass."""
    marks = [one for one in facts.get(MARK, ()) if one != policy.fingerprint]
    return {**facts, MARK: [*marks[-MARKS_MAX + 1 :], policy.fingerprint]}


def of_item(facts: dict[str, Any], item: HeldItem) -> dict[str, Any]:
    """Return the facts of a result that an item has paid for and is still to be judged."""
    return {**facts, PAID_BY: _place(item)}


def is_of_item(facts: dict[str, Any], item: HeldItem) -> bool:
    """Tell whether an item itself has paid for a result that it takes from the cache."""
    return facts.get(PAID_BY) == _place(item)


def _place(item: HeldItem) -> list[Any]:
    # Without the round: what it has paid stays its price when a person tries it again.
    return [str(item.batch.id), item.idx]


def unmarked(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a result as they are told: which policies it passed is ours to know."""
    return {name: value for name, value in facts.items() if name not in (MARK, PAID_BY)}


class Judging:
    """Judges the items of a process; what was decided is known for a while."""

    def __init__(self, clock: Clock, body: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._clock = clock
        self._body = body
        self._decided: OrderedDict[_Key, Finding | None] = OrderedDict()
        self._asked: dict[_Key, asyncio.Future[AwayError | None]] = {}

    # -- before ------------------------------------------------------------------------------

    def serves(
        self, policy: Policy, stage: Stage, requests: Iterable[Request], hit: CacheHit
    ) -> bool:
        """Tell whether a cached result may be served without a further look.

        It may not where its request, or the result, was not judged under this policy and
        that takes more than a look at the request's own words.
        """
        if stage.kind not in WORDED or is_marked(hit.facts, policy):
            return True
        if policy.hooks and stage.kind in GENERATING:
            return False
        if _is_text(hit.artifact) and policy.rules_for(When.ARTIFACT):
            return False
        subject = _of_requests(list(requests), "", stage.name)
        short = len(subject.text) <= LOOP_CHARS_MAX
        return short and _by_rules(policy, subject) is None

    async def before(self, order: Order) -> None:
        """Judge a request before it is bought; raises ``CallFailed`` where it is not to be.

        Refused by a rule or a hook, transient where a hook is away. A call that was sent
        already has been judged; its result will be.
        """
        item, policy = order.item, order.item.batch.policy
        if order.stage.kind not in WORDED or item.open_attempt is not None:
            return
        requests = [option.request for option in order.options]
        key = self._key(item, policy, b"".join(order.fingerprints))
        subject = _of_requests(requests, item.batch.tenant_id, order.stage.name)
        hooks = order.stage.kind in GENERATING and bool(policy.hooks_for(When.REQUEST))
        if not hooks and key not in self._decided and len(subject.text) <= LOOP_CHARS_MAX:
            # To look once more at a few words is less than to remember, and to wait for, a look.
            finding = _by_rules(policy, subject)
        else:
            finding = await self._decision(key, policy, subject, hooks=hooks)
        if finding is not None:
            raise CallFailed(_refused(item, order.stage, finding))

    async def _decision(
        self, key: _Key, policy: Policy, subject: Subject, *, hooks: bool
    ) -> Finding | None:
        """Judge a request once for all who ask for the same; raises ``CallFailed`` (transient)."""
        try:
            return await self._once(key, lambda: self._found(policy, subject, hooks=hooks))
        except AwayError as away:
            raise failed(
                OutcomeKind.TRANSIENT,
                f"the policy's hook {away.hook!r} gives no verdict: {away.why}",
                remedy="Nothing was bought. Bring the hook back, or set on_failure.",
                cost_microusd=0,
            ) from None

    # -- after -------------------------------------------------------------------------------

    async def after(self, order: Order, artifact: Artifact) -> Outcome | None:
        """Judge an artifact; returns how its item ends where it may not be delivered.

        Refused by a rule or a hook, transient where a hook is away.
        """
        item, policy = order.item, order.item.batch.policy
        if order.stage.kind not in GENERATING:
            return None
        hooks = policy.hooks_for(When.ARTIFACT)
        if not hooks and not (_is_text(artifact) and policy.rules_for(When.ARTIFACT)):
            return None
        try:
            subject = await self._of_artifact(order, artifact)
            finding = await self._found(policy, subject, hooks=True)
        except AwayError as away:
            reason = f"the policy's hook {away.hook!r} gives no verdict: {away.why}"
            return Outcome(OutcomeKind.TRANSIENT, reason, "Bring the hook back, or set on_failure.")
        if finding is None:
            return None
        # Who asks for the same again in this round is told at once: nothing is bought for it.
        self._keep(self._key(item, policy, b"".join(order.fingerprints)), finding)
        return _refused(item, order.stage, finding)

    async def insisting(self, order: Order, artifact: Artifact) -> Outcome | None:
        """Judge an artifact that is kept nowhere: while a hook is away, ask again for a while."""
        for _ in range(PATIENCE_TRIES):
            outcome = await self.after(order, artifact)
            if outcome is None or outcome.kind is not OutcomeKind.TRANSIENT:
                return outcome
            await self._clock.sleep(PATIENCE_S)
        reason = f"{outcome.reason if outcome else ''}; with the cache off the result is lost"
        return Outcome(OutcomeKind.LOST_RESULT, reason, "Bring the hook back, then retry.")

    async def _of_artifact(self, order: Order, artifact: Artifact) -> Subject:
        is_text = _is_text(artifact)
        body = artifact.body
        if body is None and artifact.size_bytes <= BODY_BYTES_MAX:
            try:
                body = await self._body(artifact.sha256)
            except NotFoundError:
                body = None  # gone from the store: who delivers it will say so
            except StorageError as error:
                raise AwayError("blob store", error.message) from error
        text = judged_text(artifact.media_type, body)[:TEXT_CHARS_MAX] if is_text and body else ""
        return subject_of(order, text, artifact, body)

    # -- deciding ----------------------------------------------------------------------------

    async def _found(self, policy: Policy, subject: Subject, *, hooks: bool) -> Finding | None:
        """Return the first finding: rules on the spot, then hooks, one after another."""
        if len(subject.text) > LOOP_CHARS_MAX:
            finding = await asyncio.to_thread(_by_rules, policy, subject)
        else:
            finding = _by_rules(policy, subject)
        if finding is not None or not hooks:
            return finding
        for hook in policy.hooks_for(subject.when):
            finding = await hook.ask(subject)
            if finding is not None:
                return finding
        return None

    async def _once(
        self, key: _Key, judge: Callable[[], Awaitable[Finding | None]]
    ) -> Finding | None:
        """Return what was decided; who asks meanwhile waits for the one that judges."""
        while True:
            if key in self._decided:
                self._decided.move_to_end(key)
                return self._decided[key]
            asked = self._asked.get(key)
            if asked is None:
                break
            away = await asyncio.shield(asked)
            if away is not None:
                raise AwayError(away.hook, away.why)
        future = self._asked[key] = asyncio.get_running_loop().create_future()
        away = None
        try:
            finding = await judge()
            self._keep(key, finding)
            return finding
        except AwayError as error:
            away = error
            raise
        finally:
            # Who waited goes on with what was decided, or decides where this one was cancelled.
            del self._asked[key]
            future.set_result(away)

    def _keep(self, key: _Key, finding: Finding | None) -> None:
        self._decided[key] = finding
        self._decided.move_to_end(key)
        if len(self._decided) > KNOWN_MAX:
            self._decided.popitem(last=False)

    def _key(self, item: HeldItem, policy: Policy, prints: bytes) -> _Key:
        # The round: a person who tries refused items again wants them judged again.
        return policy.fingerprint, item.batch.tenant_id, item.round, prints


def subject_of(
    order: Order, text: str, artifact: Artifact | None = None, body: bytes | None = None
) -> Subject:
    """Return what an order made, to be judged; without an artifact, a beginning of its text."""
    return Subject(
        When.ARTIFACT,
        order.item.batch.tenant_id,
        order.stage.name,
        order.provider.name,
        order.option.model,
        text,
        order.request.sources,
        artifact,
        body,
    )


def _by_rules(policy: Policy, subject: Subject) -> Finding | None:
    if not subject.text:
        return None
    for rule in policy.rules_for(subject.when):
        finding = rule.find(subject)
        if finding is not None:
            return finding
    return None


def _refused(item: HeldItem, stage: Stage, finding: Finding) -> Outcome:
    log().warning("policy_refused", rule=finding.rule, batch=str(item.batch.id), row=item.idx + 1)
    return Outcome(
        OutcomeKind.REFUSED,
        finding.reason,
        finding.remedy,
        cost_microusd=0,
        facts={"policy": {"rule": finding.rule, "stage": stage.name}},
    )


def _is_text(artifact: Artifact) -> bool:
    return artifact.media_type.startswith(_TEXTS)


def _of_requests(requests: list[Request], tenant_id: str, stage: str) -> Subject:
    texts: dict[str, None] = {}
    pictures: dict[str, None] = {}
    for request in requests:
        pictures |= dict.fromkeys(request.sources)
        for text in _texts(request.params):
            if text.startswith("data:"):
                pictures[hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()] = None
            else:
                texts[text] = None
    first = requests[0]
    joined = "\n".join(texts)
    return Subject(
        When.REQUEST, tenant_id, stage, first.provider, first.model, joined, tuple(pictures)
    )


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in params: what is asked for, in whatever form an API wants it."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in _NOT_JUDGED:
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
