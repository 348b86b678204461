from typing import Any

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest

from orders.models import Order, Product, State, advance


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["name", "price", "note"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Saving an order here is live as anywhere else."""

    list_display = ["id", "product", "customer", "state", "at"]
    list_filter = ["state"]
    list_select_related = ["product", "customer"]
    actions = ["ship"]

    @admin.action(description="Ship the selected orders")
    def ship(self, request: HttpRequest, orders: Any) -> None:
        with transaction.atomic():
            for order in orders:
                advance(order.pk, to=State.PACKED)
                advance(order.pk, to=State.SHIPPED)
