"""Who goes next: the line of those who wait at a gate.

After "Fairness in serving large language models" (OSDI 2024): each tenant has a virtual
counter of what it was served; the active tenant with the least goes next, and one that
becomes active is lifted to the least active counter, so that idling earns no credit. Classes
are to each other as tenants are within a class, with fixed shares for weights.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

CLASS_SHARES = {"interactive": 8, "batch": 3, "bulk": 1}
COUNTER_UNIT = 5040
"""Counters are integers of this part of a cost unit: weights and shares up to 10 divide it."""

_SLACK = 64
"""Stale entries that are kept before a sweep, so that small lines never sweep."""

T = TypeVar("T")


class _Turn:
    """One member of a round: its counter, and its place among equals (0: it does not wait)."""

    __slots__ = ("order", "served")

    def __init__(self) -> None:
        self.served = 0
        self.order = 0


M = TypeVar("M", bound=_Turn)


class _Turns(Generic[M]):
    """Members that take turns, the least served first; among equals, who waits longest.

    A heap of ``(served, order, member)``; entries whose order is not their member's any
    more are stale and dropped when they come up.
    """

    __slots__ = ("_floor", "_heap", "_order", "waiting")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, M]] = []
        self._order = 0
        self._floor = 0
        self.waiting = 0

    def level(self) -> int:
        """Return the counter that a member becoming active is lifted to; it never falls."""
        first = self.first()
        return self._floor if first is None else first.served

    def enter(self, member: M) -> None:
        """Let ``member`` wait for its turn."""
        level = self.level()
        if member.served < level:
            member.served = level
        self._order += 1
        self.waiting += 1
        member.order = self._order
        heappush(self._heap, (member.served, self._order, member))
        if len(self._heap) > 2 * self.waiting + _SLACK:
            self._heap = [entry for entry in self._heap if entry[2].order == entry[1]]
            heapify(self._heap)

    def leave(self, member: M) -> None:
        """``member`` has nothing that waits any more."""
        member.order = 0
        self.waiting -= 1
        if self.waiting == 0:
            self._floor = member.served

    def first(self) -> M | None:
        """Return the member whose turn it is."""
        heap = self._heap
        while heap and heap[0][2].order != heap[0][1]:
            heappop(heap)
        return heap[0][2] if heap else None

    def charge(self, member: M, amount: int, stays: bool) -> None:
        """Take the turn of ``member``, which is first: it goes behind its equals, or leaves."""
        member.served += amount
        if stays:
            self._order += 1
            member.order = self._order
            heapreplace(self._heap, (member.served, self._order, member))
        else:
            heappop(self._heap)
            self.leave(member)


class Ticket(Generic[T]):
    """One place in a line; ``waiting`` until it is taken or removed."""

    __slots__ = ("class_name", "cost", "item", "tenant_id", "waiting", "weight")

    def __init__(self, item: T, tenant_id: str, class_name: str, weight: int, cost: int) -> None:
        self.item = item
        self.tenant_id = tenant_id
        self.class_name = class_name
        self.weight = weight
        self.cost = cost
        self.waiting = True


class _Queue(_Turn, Generic[T]):
    """What one tenant has waiting in one class, first in, first out."""

    __slots__ = ("tenant_id", "tickets", "waiting")

    def __init__(self, tenant_id: str) -> None:
        super().__init__()
        self.tenant_id = tenant_id
        self.tickets: deque[Ticket[T]] = deque()
        self.waiting = 0

    def head(self) -> Ticket[T]:
        tickets = self.tickets
        while not tickets[0].waiting:
            tickets.popleft()
        return tickets[0]

    def drop(self, ticket: Ticket[T]) -> None:
        """Take a ticket out; its place in the middle is swept when half are such."""
        ticket.waiting = False
        self.waiting -= 1
        if self.tickets[0] is ticket:
            self.tickets.popleft()
        elif len(self.tickets) > 2 * self.waiting + _SLACK:
            self.tickets = deque(one for one in self.tickets if one.waiting)


class _Class(_Turn, Generic[T]):
    """The tenants that wait in one class."""

    __slots__ = ("_sweep_at", "queues", "share", "turns")

    def __init__(self, share: int) -> None:
        super().__init__()
        self.share = share
        self.turns: _Turns[_Queue[T]] = _Turns()
        self.queues: dict[str, _Queue[T]] = {}
        self._sweep_at = _SLACK

    def queue(self, tenant_id: str) -> _Queue[T]:
        found = self.queues.get(tenant_id)
        if found is None:
            if len(self.queues) >= self._sweep_at:
                self._forget()
            found = self.queues[tenant_id] = _Queue(tenant_id)
        return found

    def _forget(self) -> None:
        """Forget idle tenants that would be lifted anyway, as if they had never been here."""
        level = self.turns.level()
        self.queues = {
            tenant_id: queue
            for tenant_id, queue in self.queues.items()
            if queue.waiting or queue.served > level
        }
        self._sweep_at = 2 * len(self.queues) + _SLACK


class FairLine(Generic[T]):
    """The line of those who wait, of all tenants and classes, in the order that is fair.

    Classes share what is handed out 8 : 3 : 1 while they have something waiting (so that
    none gets less than a twelfth), tenants share within a class by weight, and a tenant's
    own are served first in, first out. What counts is cost, not number. Whoever is first
    stays first until it is taken: one that needs much cannot be overtaken for ever.
    A tenant may be ``hold``: its own wait on, and are passed over, until ``let_on``.
    Each operation takes O(log tenants) time.
    """

    def __init__(self) -> None:
        self._classes = {name: _Class[T](share) for name, share in CLASS_SHARES.items()}
        self._turns: _Turns[_Class[T]] = _Turns()
        self._waiting = 0
        self._held: set[str] = set()
        self._held_back = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def ready(self) -> int:
        """Return how many wait whose tenants are not held."""
        return self._waiting - self._held_back

    def len_of(self, tenant_id: str) -> int:
        """Return how many of a tenant's wait, in all classes."""
        found = (each.queues.get(tenant_id) for each in self._classes.values())
        return sum(queue.waiting for queue in found if queue is not None)

    def push(
        self, item: T, tenant_id: str, class_name: str = "batch", weight: int = 1, cost: int = 1
    ) -> Ticket[T]:
        """Put ``item`` at the back of its tenant's queue; its turn will cost ``cost / weight``.

        Raises ``ValueError`` for a class that does not exist, a weight or cost below 1.
        """
        its_class = self._classes.get(class_name)
        if its_class is None:
            raise ValueError(f"class {class_name!r}: it is one of {', '.join(CLASS_SHARES)}")
        if weight < 1 or cost < 1:
            raise ValueError(f"weight {weight} and cost {cost} must be 1 or more")
        ticket = Ticket(item, tenant_id, class_name, weight, cost)
        queue = its_class.queue(tenant_id)
        queue.tickets.append(ticket)
        queue.waiting += 1
        self._waiting += 1
        if tenant_id in self._held:
            self._held_back += 1
        elif not queue.order:
            self._enter(its_class, queue)
        return ticket

    def hold(self, tenant_id: str) -> None:
        """Pass over what a tenant has waiting, and what it will have, until ``let_on``."""
        if tenant_id in self._held:
            return
        self._held.add(tenant_id)
        for its_class, queue in self._queues_of(tenant_id):
            self._held_back += queue.waiting
            self._leave(its_class, queue)

    def let_on(self, tenant_id: str) -> None:
        """Let a tenant that was held take turns again; standing there has earned no credit."""
        if tenant_id not in self._held:
            return
        self._held.remove(tenant_id)
        for its_class, queue in self._queues_of(tenant_id):
            self._held_back -= queue.waiting
            self._enter(its_class, queue)

    def _queues_of(self, tenant_id: str) -> list[tuple[_Class[T], _Queue[T]]]:
        """Return where a tenant has somebody waiting."""
        found = [(each, each.queues.get(tenant_id)) for each in self._classes.values()]
        return [(each, queue) for each, queue in found if queue is not None and queue.waiting]

    def _enter(self, its_class: _Class[T], queue: _Queue[T]) -> None:
        if not its_class.order:
            self._turns.enter(its_class)
        its_class.turns.enter(queue)

    def _leave(self, its_class: _Class[T], queue: _Queue[T]) -> None:
        its_class.turns.leave(queue)
        if not its_class.turns.waiting:
            self._turns.leave(its_class)

    def waiting(self) -> list[Ticket[T]]:
        """Return all places that wait, in no particular order."""
        queues = [queue for each in self._classes.values() for queue in each.queues.values()]
        return [ticket for queue in queues for ticket in queue.tickets if ticket.waiting]

    def peek(self) -> tuple[T, Ticket[T]] | None:
        """Return who goes next, without a charge; ``None`` when nobody may."""
        its_class = self._turns.first()
        queue = None if its_class is None else its_class.turns.first()
        if queue is None:
            return None
        ticket = queue.head()
        return ticket.item, ticket

    def take(self, ticket: Ticket[T]) -> None:
        """Let the ticket go that is next, and charge its tenant and its class.

        Raises ``ValueError`` when it does not wait (any more), or it is not its turn.
        """
        if not ticket.waiting:
            raise ValueError("this ticket was taken or removed already")
        its_class = self._classes[ticket.class_name]
        queue = its_class.queues[ticket.tenant_id]
        if self._turns.first() is not its_class or its_class.turns.first() is not queue:
            raise ValueError("it is not this ticket's turn")
        queue.drop(ticket)
        self._waiting -= 1
        its_class.turns.charge(
            queue, max(1, COUNTER_UNIT * ticket.cost // ticket.weight), queue.waiting > 0
        )
        self._turns.charge(
            its_class,
            COUNTER_UNIT * ticket.cost // its_class.share,
            its_class.turns.waiting > 0,
        )
        if not queue.waiting:
            queue.tickets.clear()

    def pop(self) -> T | None:
        """Take who goes next: ``peek`` and ``take`` in one."""
        found = self.peek()
        if found is None:
            return None
        self.take(found[1])
        return found[0]

    def remove(self, ticket: Ticket[T]) -> bool:
        """Take out somebody who waits no longer, uncharged; ``False`` when it did not wait."""
        if not ticket.waiting:
            return False
        its_class = self._classes[ticket.class_name]
        queue = its_class.queues[ticket.tenant_id]
        queue.drop(ticket)
        self._waiting -= 1
        if ticket.tenant_id in self._held:
            self._held_back -= 1
        elif not queue.waiting:
            self._leave(its_class, queue)
        if not queue.waiting:
            queue.tickets.clear()
        return True

    def drain(self) -> list[T]:
        """Take out all that wait, uncharged, those of held tenants included; return them."""
        places = self.waiting()
        for place in places:
            self.remove(place)
        return [place.item for place in places]
