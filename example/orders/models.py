"""Products of the chandlery, and their orders."""

from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone


class State(models.TextChoices):
    PLACED = "placed"
    PACKED = "packed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


NEXT = {State.PLACED: State.PACKED, State.PACKED: State.SHIPPED, State.SHIPPED: State.DELIVERED}
"""The way of an order. A cancelled or delivered one goes no further."""


class Product(models.Model):
    name = models.CharField(max_length=60, unique=True)
    note = models.CharField(max_length=120, blank=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """One thing, ordered by one customer. Saving an order publishes it: see live.py."""

    customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="orders")
    product = models.ForeignKey(Product, models.PROTECT, related_name="orders")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLACED, db_index=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["customer", "-id"], name="order_by_customer")]

    def __str__(self) -> str:
        return f"Order {self.pk}: {self.product}"

    # --8<-- [start:save]
    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save in one transaction with the receivers of `post_save`, among them that of live.py."""
        with transaction.atomic():
            super().save(*args, **kwargs)

    # --8<-- [end:save]

    def get_absolute_url(self) -> str:
        return f"{reverse('orders:mine')}#order-{self.pk}"

    @property
    def next_state(self) -> State | None:
        return NEXT.get(State(self.state))


# --8<-- [start:advance]
def advance(pk: int, *, to: State | None = None) -> Order:
    """Take an order one step further, or only as far as `to` if that is its next step; an order that is there stays.

    A message that arrives twice (a webhook, a task that runs again, two clicks) therefore does nothing the second time.
    Call it in a transaction.
    """
    order: Any = Order.objects.select_for_update().select_related("product").get(pk=pk)
    if order.next_state and to in (None, order.next_state):
        order.state = order.next_state
        order.save()
    return order


# --8<-- [end:advance]
