import hashlib
import hmac
import json
import tempfile
from io import StringIO
from typing import Any
from unittest import mock

from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import TransactionTestCase, override_settings
from holdfast.testing import CallError, JoinError, LiveClient

from harbor.tests.base import SeededTestCase
from notices.models import Notice
from orders import bots, tasks
from orders.models import Order, Product, State, advance


class OrdersTestCase(SeededTestCase):
    def order(self, by: str = "grace", **fields: Any) -> Order:
        return Order.objects.create(customer=self.user(by), product=Product.objects.all()[0], **fields)

    def state_of(self, order: Order) -> str:
        return Order.objects.get(pk=order.pk).state


class Following(OrdersTestCase):
    """A packed order is shipped, wherever; its customer and the counter see it."""

    def sees(self, change: Any) -> None:
        order = self.order(state=State.PACKED)
        with LiveClient(self.user("grace")) as grace, LiveClient(self.user("ada")) as staff:
            grace.join("orders/me")
            staff.join("counter")
            change(order)
            for client in (grace, staff):
                client.expect("order.changed", id=order.pk, state="shipped", customer="grace")
        self.assertTrue(Notice.objects.filter(user__username="grace", text__endswith=": shipped").exists())

    def test_of_a_save_in_the_admin(self) -> None:
        self.sign_in("ada")

        def save(order: Order) -> None:
            fields = {"customer": order.customer_id, "product": order.product_id, "state": "shipped"}
            when = {"at_0": "2026-01-01", "at_1": "12:00:00"}
            path = f"/admin/orders/order/{order.pk}/change/"
            self.assertEqual(self.client.post(path, fields | when).status_code, 302)

        self.sees(save)

    def test_of_an_action_of_the_admin(self) -> None:
        self.sign_in("ada")
        self.sees(
            lambda order: self.client.post(
                "/admin/orders/order/", {"action": "ship", "_selected_action": [order.pk]}
            )
        )

    def test_of_a_task(self) -> None:
        with (
            mock.patch.object(tasks, "PACKING_SECONDS", 0),
            mock.patch.object(tasks, "close_old_connections"),
        ):
            self.sees(lambda order: tasks.dispatch(order.pk))

    def test_of_a_command(self) -> None:
        self.sees(lambda order: call_command("ship", str(order.pk), stdout=StringIO()))

    def test_not_of_a_transaction_that_is_rolled_back(self) -> None:
        order = self.order()
        with LiveClient(self.user("grace")) as grace:
            grace.join("orders/me")
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                advance(order.pk)
                raise ZeroDivisionError
            grace.expect_nothing()
        self.assertFalse(Notice.objects.exists())


class OneCommit(TransactionTestCase):
    """Without a transaction of the caller, as in the shell."""

    def test_an_order_whose_event_cannot_be_published_is_not_saved(self) -> None:
        customer = get_user_model().objects.create(username="grace")
        order = Order.objects.create(
            customer=customer, product=Product.objects.create(name="Lantern", price="1")
        )
        order.state = State.PACKED
        with override_settings(HOLDFAST={"EVENT_BYTES": 10}), self.assertRaises(ValueError):
            order.save()
        self.assertEqual(Order.objects.get().state, State.PLACED)


class Fixtures(OrdersTestCase):
    def test_a_fixture_may_name_a_product_that_it_loads_later(self) -> None:
        order = {"customer": self.user("grace").pk, "product": 999, "at": "2026-01-01T12:00:00Z"}
        rows = [
            {"model": "orders.order", "pk": 999, "fields": order},
            {"model": "orders.product", "pk": 999, "fields": {"name": "Whistle", "price": "3.00"}},
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as fixture:
            json.dump(rows, fixture)
            fixture.flush()
            call_command("loaddata", fixture.name, stdout=StringIO())
        self.assertEqual(Order.objects.get(pk=999).product.name, "Whistle")


class Steps(OrdersTestCase):
    def test_an_order_goes_one_step_at_a_time_and_stops_at_the_end(self) -> None:
        order = self.order()
        states = [advance(order.pk).state for _ in range(4)]
        self.assertEqual(states, ["packed", "shipped", "delivered", "delivered"])

    def test_a_step_that_was_taken_is_not_taken_again(self) -> None:
        order = self.order(state=State.SHIPPED)
        advance(order.pk, to=State.PACKED)
        advance(order.pk, to=State.SHIPPED)
        self.assertEqual(self.state_of(order), "shipped")

    def test_a_cancelled_order_goes_nowhere(self) -> None:
        self.assertEqual(advance(self.order(state=State.CANCELLED).pk).state, "cancelled")

    def test_a_command_names_an_order_that_is_not_there(self) -> None:
        with self.assertRaisesMessage(CommandError, "There is no order 999."):
            call_command("ship", "999")


class Counter(OrdersTestCase):
    def test_staff_take_an_order_further(self) -> None:
        order = self.order()
        with LiveClient(self.user("ada")) as staff:
            staff.join("counter")
            self.assertEqual(staff.call("counter", "advance", order=order.pk), "packed")
            staff.expect("order.changed", id=order.pk, state="packed")

    def test_customers_neither_see_it_nor_join_it(self) -> None:
        with LiveClient(self.user("grace")) as grace, self.assertRaises(JoinError):
            grace.join("counter")
        self.sign_in("grace")
        self.assertEqual(self.client.get("/orders/counter/").status_code, 404)
        self.assertEqual(self.client.post(f"/orders/{self.order().pk}/dispatch/").status_code, 404)

    def test_staff_who_may_view_orders_may_not_ship_them(self) -> None:
        from django.contrib.auth.models import Permission

        linus = self.user("linus")
        linus.user_permissions.add(Permission.objects.get(codename="view_order"))
        order = self.order()
        with LiveClient(self.user("linus")) as client:
            client.join("counter")
            with self.assertRaises(CallError) as refused:
                client.call("counter", "advance", order=order.pk)
        self.assertEqual((refused.exception.code, self.state_of(order)), ("forbidden", "placed"))


class Shop(OrdersTestCase):
    def test_what_is_ordered_is_on_the_page(self) -> None:
        self.sign_in("linus")
        with LiveClient(self.user("linus")) as other_tab:
            other_tab.join("orders/me")
            response = self.client.post("/orders/place/", {"product": "Lemon cake"})
            order = Order.objects.get(customer__username="linus")
            self.assertRedirects(response, f"/orders/#order-{order.pk}")
            other_tab.expect("order.changed", id=order.pk, product="Lemon cake", state="placed")
        self.assertContains(self.client.get("/orders/"), f'id="order-{order.pk}"')

    def test_no_user_sees_the_orders_of_others(self) -> None:
        order = self.order("grace")
        self.sign_in("linus")
        self.assertNotContains(self.client.get("/orders/"), f'id="order-{order.pk}"')

    def test_what_is_not_sold_is_not_ordered(self) -> None:
        self.sign_in("linus")
        for product in ["", "Kraken"]:
            with self.subTest(product=product):
                self.assertEqual(self.client.post("/orders/place/", {"product": product}).status_code, 404)


@override_settings(CARRIER_SECRET="carrier")
class Webhook(OrdersTestCase):
    def post(self, notice: Any, *, secret: str = "carrier") -> int:
        body = json.dumps(notice).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Signature": signature}
        return self.client.post("/orders/carrier/", body, "application/json", headers=headers).status_code

    def test_a_signed_notice_delivers_once(self) -> None:
        order = self.order(state=State.SHIPPED)
        with LiveClient(self.user("grace")) as grace:
            grace.join("orders/me")
            for _ in range(2):
                self.assertEqual(self.post({"order": order.pk, "state": "delivered"}), 204)
            grace.expect("order.changed", id=order.pk, state="delivered")
            grace.expect_nothing()

    def test_a_forged_notice_does_nothing(self) -> None:
        order = self.order(state=State.SHIPPED)
        self.assertEqual(self.post({"order": order.pk, "state": "delivered"}, secret="guess"), 403)
        self.assertEqual(self.client.post("/orders/carrier/", b"{}", "application/json").status_code, 403)
        self.assertEqual(self.state_of(order), "shipped")

    def test_nonsense_is_refused(self) -> None:
        for notice in [{}, [], {"order": "x", "state": "shipped"}, {"order": 1, "state": "sunk"}]:
            with self.subTest(notice=notice):
                self.assertEqual(self.post(notice), 400)
        self.assertEqual(self.post({"order": 10**6, "state": "shipped"}), 404)

    @override_settings(CARRIER_SECRET=None)
    def test_without_a_secret_there_is_no_webhook(self) -> None:
        self.assertEqual(self.post({"order": 1, "state": "delivered"}, secret=""), 404)


class Quartermaster(OrdersTestCase):
    def test_it_takes_the_oldest_order_on_and_keeps_a_few_under_way(self) -> None:
        with mock.patch.object(bots, "close_old_connections"), mock.patch.object(bots, "KEPT", 6):
            for _ in range(60):
                bots.step()
        under_way = Order.objects.exclude(state=State.DELIVERED)
        self.assertLessEqual(under_way.count(), bots.MOST_OPEN)
        self.assertEqual(Order.objects.filter(customer__username="linus").count(), 6)
