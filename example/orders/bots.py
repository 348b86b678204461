"""The quartermaster: takes each order a step further now and then, and orders something on slow days."""

import asyncio
import random

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import close_old_connections, transaction

from orders.models import NEXT, Order, Product, advance

CUSTOMER = "linus"
SECONDS = (3.0, 7.0)
MOST_OPEN = 4
KEPT = 40
"""Orders of the bot's customer that stay in the database."""


async def run() -> None:
    while True:
        await asyncio.sleep(random.uniform(*SECONDS))  # noqa: S311 -- a pause, not a secret
        await sync_to_async(step)()


def step() -> None:
    """One order goes on, and perhaps a new one is placed."""
    close_old_connections()
    under_way = Order.objects.filter(state__in=NEXT).order_by("id")
    with transaction.atomic():
        oldest = under_way.first()
        if oldest is not None:
            advance(oldest.pk)
        if under_way.count() < MOST_OPEN:
            customer = get_user_model().objects.get(username=CUSTOMER)
            Order.objects.create(customer=customer, product=Product.objects.order_by("?")[0])
            old = Order.objects.filter(customer=customer).values_list("pk", flat=True)[KEPT:]
            Order.objects.filter(pk__in=list(old)).delete()
