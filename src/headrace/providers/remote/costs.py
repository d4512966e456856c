"""What calls of one provider cost: told in the answer, or else estimated from list prices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from headrace.price import MICRO, USD_MAX
from headrace.price_table import ModelPrice, PriceTable, Usage, built_in

_TOLD_HEADER = "x-litellm-response-cost"
_AMOUNT = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,3})?")


class Costs:
    """List prices in the order in which they count: the provider's own, the user's, ours.

    ``kind`` prices, the user's and ours, hold only at the ``official`` address: another
    server under the same API has other prices, or none.
    """

    def __init__(self, name: str, kind: str, *, official: bool, own: PriceTable) -> None:
        self._name = name
        self._kind = kind
        self._official = official
        self._tables = [own]

    def use(self, lists: Mapping[str, PriceTable]) -> None:
        """Take prices of a user's file: of the section of this provider, then of its kind."""
        sections = [self._kind] if self._official else []
        if self._name != self._kind:
            sections.insert(0, self._name)
        self._tables += [lists[section] for section in sections if section in lists]

    def find(self, model: str) -> ModelPrice | None:
        """Return the price of ``model``, ``None`` when it is not known."""
        for table in self._tables:
            found = table.find(model)
            if found is not None:
                return found
        return built_in().get(self._kind, PriceTable()).find(model) if self._official else None

    def most(self, model: str, usage: Usage | None) -> int | None:
        """Return the most in micro-USD that a call of at most ``usage`` costs, or ``None``.

        Where nobody knows its usage, only a price by the request can tell.
        """
        price = self.find(model)
        if price is None or usage is None:
            return None if price is None else price.by_request
        return price.most(usage)

    def of(self, model: str, usage: Usage | None) -> int | None:
        """Return the estimate in micro-USD of a call that used ``usage``, or ``None``."""
        price = self.find(model)
        if price is None or usage is None:
            return None if price is None else price.by_request
        return price.of(usage)


def _in_usage(usage: Mapping[str, Any]) -> str | None:
    """Return the cost that a usage object tells, ``None`` when it tells none, or a part only.

    With a key of one's own OpenRouter's ``cost`` is its fee, and the model's own provider
    sends a bill beside it: the cost is known where that is told, too.
    """
    parts = [usage.get("cost")]
    if usage.get("is_byok") is True:
        details = usage.get("cost_details")
        parts.append(
            details.get("upstream_inference_cost") if isinstance(details, Mapping) else None
        )
    whole = Decimal(0)
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, int | float) or not 0 <= part < USD_MAX:
            return None
        whole += Decimal(repr(part))
    return str(whole)


def told_microusd(headers: Mapping[str, str], usage: Any = None) -> int | None:
    """Return the true cost that an answer tells in dollars, ``None`` when it tells none.

    A LiteLLM gateway sends it in a header, OpenRouter as ``usage.cost``. An amount below
    half a micro-USD is one micro-USD.
    """
    told = headers.get(_TOLD_HEADER)
    if told is None and isinstance(usage, Mapping):
        told = _in_usage(usage)
    if told is None or _AMOUNT.fullmatch(told.strip()) is None:
        return None
    amount = Decimal(told.strip())
    if not amount < USD_MAX:
        return None
    whole = int((amount * MICRO).to_integral_value(rounding=ROUND_HALF_UP))
    # What cost something never counts as free.
    return max(1, whole) if amount else 0
