"""Topics of orders. Every save of an order is published, wherever it happens: view, admin, task, webhook, shell."""

from datetime import datetime
from typing import Any

import holdfast
from django.db.models.signals import post_save
from django.dispatch import receiver
from holdfast import Event, Keep, Topic, action

from notices.live import notify
from orders.models import Order, advance


class OrderChanged(Event):
    """An order as it is now; on the wire `order.changed`."""

    id: int
    product: str
    customer: str
    state: str
    at: datetime


class MyOrders(Topic):
    """The orders of one customer, in all tabs and on all devices of theirs."""

    route = "orders/<me>"
    events = [OrderChanged]
    keep = Keep(days=30)

    def may_join(self, user: Any) -> bool:
        return True  # `<me>` has let in only the customer


class Counter(Topic):
    """The topic of all orders, for staff who may see them."""

    route = "counter"
    events = [OrderChanged]
    keep = Keep(days=1)
    requires = "orders.view_order"

    @action(requires="orders.change_order")
    def advance(self, caller: Any, order: int) -> str:
        """Take an order one step further; returns its state."""
        return advance(order).state


@receiver(post_save, sender=Order)
def publish(instance: Order, created: bool, raw: bool, **kwargs: Any) -> None:
    """In the transaction of `Order.save`: the row, the events and the notice are committed together, or none of them is."""
    if raw:
        return  # of a fixture: what the order refers to may not be there yet
    changed = OrderChanged(
        id=instance.pk,
        product=instance.product.name,
        customer=instance.customer.get_username(),
        state=instance.state,
        at=instance.at,
    )
    holdfast.publish([(MyOrders(me=instance.customer_id), changed), (Counter(), changed)])
    if not created:
        text = f"{instance.product.name}: {instance.get_state_display().lower()}"
        notify(instance.customer, text, instance.get_absolute_url())
