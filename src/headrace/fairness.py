"""Who goes next: a virtual counter for each tenant, classes by share, in pure functions.

After "Fairness in serving large language models" (OSDI 2024): the active tenant that was
served least goes next, and one that becomes active is lifted to the least active counter,
so that idling earns no credit.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASS_SHARES = {"interactive": 8, "batch": 3, "bulk": 1}


@dataclass(slots=True)
class Line:
    """One tenant's work of one class that waits to be cut.

    ``served_cost`` is the tenant's virtual counter, ``weight`` its plan's weight.
    """

    tenant_id: str
    class_name: str
    weight: int
    served_cost: int


def next_line(lines: list[Line]) -> Line:
    """Return the line to serve now: least counter first, then the class with the larger share.

    Raises ``ValueError`` when no line is given.
    """
    return min(
        lines, key=lambda line: (line.served_cost, -CLASS_SHARES[line.class_name], line.tenant_id)
    )


def charge(line: Line, cost: int) -> int:
    """Return the counter after serving ``cost``: heavier plans and classes pay less for it."""
    share = line.weight * CLASS_SHARES[line.class_name]
    return line.served_cost + max(1, 24 * cost // share)


def lift(counters: dict[str, int], floor: int) -> dict[str, int]:
    """Return the counters with those below ``floor`` lifted to it."""
    return {tenant_id: max(count, floor) for tenant_id, count in counters.items()}
