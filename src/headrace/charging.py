"""What each result adds to the price of its item: by the batch's tariff, else by the provider's."""

from __future__ import annotations

from headrace.course import Made
from headrace.held import HeldItem
from headrace.order import Order
from headrace.store.writes import AttemptEnd
from headrace.tariff import Tariff


def charge_bought(item: HeldItem, order: Order, end: AttemptEnd) -> None:
    """Add the price of a result that was just bought to what its item costs."""
    price = order.option.price
    tariff = item.batch.tariff or Tariff()
    rate = tariff.rate(order.provider.name, order.option.model)
    if rate is not None:
        item.spent_microcredits += rate.of_call(
            end.cost_microusd, end.cost_estimate_microusd, price.cost_microusd_max
        )
    elif tariff.item is not None:
        _charge_whole(item, tariff.item.credits_microcredits or 0)
    else:
        item.spent_microcredits += price.credits_microcredits


def charge_hit(item: HeldItem, made: Made) -> None:
    """Add the price of a result that was there already; none unless the price book names one."""
    tariff = item.batch.tariff
    if tariff is None:
        return
    rate = tariff.rate(made.provider, made.model)
    if rate is not None:
        item.spent_microcredits += rate.cached_microcredits
    elif tariff.item is not None:
        _charge_whole(item, tariff.item.cached_microcredits)


def _charge_whole(item: HeldItem, amount: int) -> None:
    """Charge the recipe's price of an item: once, and the full one if anything of it is bought."""
    more = max(0, amount - item.priced_microcredits)
    item.priced_microcredits += more
    item.spent_microcredits += more
