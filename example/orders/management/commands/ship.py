"""`manage.py ship 7`: ship an order from a cron job or the shell."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from orders.models import Order, State, advance


class Command(BaseCommand):
    help = "Ships orders. Customers see it on their open pages."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("orders", nargs="+", type=int, metavar="ORDER")

    def handle(self, *args: Any, orders: list[int], **options: Any) -> None:
        for pk in orders:
            try:
                with transaction.atomic():
                    advance(pk, to=State.PACKED)
                    order = advance(pk, to=State.SHIPPED)
            except Order.DoesNotExist as error:
                raise CommandError(f"There is no order {pk}.") from error
            self.stdout.write(f"{order} is {order.state}.")
