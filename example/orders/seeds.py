"""Products of the chandlery at the start of the demo, and a few orders."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.utils import timezone

from orders.models import Order, Product, State

PRODUCTS = [
    ("Signal flag set", "Forty flags, in a roll", "89.00"),
    ("Fender, large", "Not the ones under the tarpaulin", "34.50"),
    ("Storm lantern", "Burns through any gale", "42.00"),
    ("Mooring line, 20 m", "Three-strand, spliced by Linus", "61.90"),
    ("Lemon cake", "By tradition", "12.00"),
]
ORDERS = [
    ("ada", "Storm lantern", State.DELIVERED, 26),
    ("grace", "Signal flag set", State.SHIPPED, 5),
    ("ada", "Mooring line, 20 m", State.PACKED, 3),
    ("grace", "Lemon cake", State.PLACED, 1),
]


def seed(users: dict[str, Any]) -> Iterator[str]:
    if Product.objects.exists():
        yield "The chandlery is stocked already."
        return
    products = {
        name: Product.objects.create(name=name, note=note, price=price) for name, note, price in PRODUCTS
    }
    now = timezone.now()
    Order.objects.bulk_create(  # which sends no signal: nothing is published for what has long happened
        Order(customer=users[customer], product=products[name], state=state, at=now - timedelta(hours=hours))
        for customer, name, state, hours in ORDERS
    )
    yield f"The chandlery: {len(PRODUCTS)} products, {len(ORDERS)} orders."
