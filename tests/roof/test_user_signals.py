"""Signals: changes of users and logouts revoke live connections at once."""

import gc
import tracemalloc
from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar

import pytest
from django.contrib.auth import login
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models.signals import post_init
from django.http import HttpRequest, HttpResponse
from django.test import Client as Browser
from django.test import TestCase, TransactionTestCase, override_settings
from django.urls import path

import holdfast
from holdfast import Event, Topic, user_signals
from holdfast import runtime as runtimes
from holdfast.control.commands import TOPIC
from holdfast.log.base import LogUnavailable
from holdfast.testing import Live, LiveClient
from holdfast.topics.registry import registry

PASSWORD = "correct horse"


class Rung(Event):
    n: int


class Bridge(Topic):
    """A topic for users who may see groups."""

    route = "bridge"
    events = [Rung]

    def may_join(self, user: Any) -> bool:
        return bool(user.has_perm("auth.view_group"))


class Deck(Topic):
    """A topic that all clients may join."""

    route = "deck"
    events = [Rung]

    def may_join(self, user: Any) -> bool:
        return True


def permission() -> Permission:
    return Permission.objects.get(codename="view_group", content_type__app_label="auth")


class Aboard(TestCase):
    """Ada is a captain, and captains may be on the bridge."""

    ada: ClassVar[User]
    grace: ClassVar[User]
    captains: ClassVar[Group]
    revoke_on_user_signals = True

    @classmethod
    def setUpTestData(cls) -> None:
        cls.ada = User.objects.create_user("ada", password=PASSWORD)
        cls.grace = User.objects.create_user("grace", password=PASSWORD)
        cls.captains = Group.objects.create(name="captains")
        cls.captains.permissions.add(permission())
        cls.ada.groups.add(cls.captains)
        cls.grace.user_permissions.add(permission())

    def setUp(self) -> None:
        self.numbers = count()
        self.enterContext(override_settings(HOLDFAST={"REVOKE_ON_USER_SIGNALS": self.revoke_on_user_signals}))
        self.enterContext(registry.override([Bridge, Deck]))
        self.live = self.enterContext(Live())

    def browse(self, name: str) -> Browser:
        browser = Browser()
        assert browser.login(username=name, password=PASSWORD)
        return browser

    def aboard(self, browser: Browser) -> LiveClient:
        client = self.live.connect(browser=browser)
        client.join("bridge")
        client.join("deck")
        return client

    def orders(self) -> int:
        log = runtimes.current().log
        log.sequence([TOPIC])
        return log.heads([TOPIC])[TOPIC].offset

    def fetch(self, name: str = "ada") -> User:
        return User.objects.get(username=name)

    def assert_nothing_happened(self, client: LiveClient) -> None:
        client.expect_nothing("rung", n=-1)  # time for what must not happen
        assert self.hears(client, Bridge())

    def hears(self, client: LiveClient, topic: Topic) -> bool:
        n = next(self.numbers)
        topic.publish(Rung(n))
        while client.expect(Rung, topic=topic).n != n:
            pass
        return True


class Sessions(Aboard):
    def test_a_logout_closes_the_connections_of_that_session_and_no_other_device(self) -> None:
        phone, laptop = self.browse("ada"), self.browse("ada")
        on_phone, another_tab, on_laptop = self.aboard(phone), self.aboard(phone), self.aboard(laptop)
        phone.logout()
        assert on_phone.expect_closed() == "unauthenticated"
        assert another_tab.expect_closed() == "unauthenticated"
        self.assert_nothing_happened(on_laptop)

    def test_a_new_password_closes_connections_opened_with_the_old_one(self) -> None:
        ada, grace = self.aboard(self.browse("ada")), self.aboard(self.browse("grace"))
        user = self.fetch()
        user.set_password("battery staple")
        user.save()
        assert ada.expect_closed() == "unauthenticated"
        self.assert_nothing_happened(grace)

    def test_a_deactivated_user_is_closed(self) -> None:
        ada = self.aboard(self.browse("ada"))
        by_token = self.live.connect(self.fetch())
        by_token.join("deck")
        user = self.fetch()
        user.is_active = False
        user.save(update_fields=["is_active"])
        assert ada.expect_closed() == "unauthenticated"
        assert by_token.expect_closed() == "unauthenticated"

    def test_a_deleted_user_is_closed(self) -> None:
        ada = self.aboard(self.browse("ada"))
        self.fetch().delete()
        assert ada.expect_closed() == "unauthenticated"

    def test_users_deleted_by_a_queryset_are_closed(self) -> None:
        ada = self.aboard(self.browse("ada"))
        User.objects.filter(username="ada").delete()
        assert ada.expect_closed() == "unauthenticated"

    def test_a_change_that_is_rolled_back_closes_no_connection(self) -> None:
        ada = self.aboard(self.browse("ada"))
        try:
            with transaction.atomic():
                user = self.fetch()
                user.is_active = False
                user.save()
                holdfast.disconnect(user)
                Bridge().evict(user)
                raise LookupError
        except LookupError:
            pass
        self.assert_nothing_happened(ada)

    def test_within_a_transaction_connections_close_at_the_commit(self) -> None:
        ada = self.aboard(self.browse("ada"))
        with transaction.atomic():
            Bridge().evict(self.ada, reason="storm")
            ada.expect_nothing()
        assert ada.expect_left("bridge") == "evicted"
        with transaction.atomic():
            holdfast.disconnect(self.ada)
        assert ada.expect_closed() == "disconnected"

    def test_a_save_that_changes_nothing_that_matters_orders_nothing(self) -> None:
        before = self.orders()
        user = self.fetch()
        user.first_name = "Ada"
        user.save()
        user.save(update_fields=["last_login"])
        self.aboard(self.browse("ada"))
        assert self.orders() == before

    def test_a_new_user_issues_no_command(self) -> None:
        before = self.orders()
        User.objects.create_user("linus", password=PASSWORD)
        assert self.orders() == before

    def test_a_field_that_was_not_read_counts_as_changed(self) -> None:
        before = self.orders()
        user = User.objects.defer("is_active").get(username="ada")
        user.is_active = False
        user.save()
        assert self.orders() == before + 1

    def test_a_flag_that_is_neither_true_nor_false_is_compared_too(self) -> None:
        user = User(username="ada", is_staff=["odd"])  # type: ignore[misc]
        before = user_signals._read_before(user.__dict__)
        assert before["is_staff"] == ["odd"]
        assert before["is_active"] is True

    def test_a_user_that_is_read_weighs_little_more_for_being_watched(self) -> None:
        User.objects.bulk_create(User(username=f"crew-{n}", password="!") for n in range(1000))
        watched = self.weight_of_a_user()
        assert post_init.disconnect(sender=User, dispatch_uid="holdfast")
        try:
            assert watched - self.weight_of_a_user() < 120  # bytes; a dict of the values made it 248
        finally:
            post_init.connect(user_signals.remember, sender=User, dispatch_uid="holdfast")

    def weight_of_a_user(self) -> float:
        for _ in range(2):  # what is made at first need is made
            gc.collect()
            tracemalloc.start()
            users = list(User.objects.all())
            gc.collect()
            size = tracemalloc.get_traced_memory()[0] / len(users)
            tracemalloc.stop()
        return size

    def test_sessions_that_are_cookies_end_all_together(self) -> None:
        ada, grace = self.live.connect(self.ada), self.live.connect(self.grace)
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
            browser = Browser()
            browser.login(username="ada", password=PASSWORD)
            browser.logout()
        assert ada.expect_closed() == "unauthenticated"
        assert grace.connected


def sign_in(request: HttpRequest, name: str) -> HttpResponse:
    login(request, User.objects.get(username=name), backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse()


def put(request: HttpRequest) -> HttpResponse:
    request.session["cart"] = 1
    return HttpResponse()


urlpatterns = [path("in/<str:name>", sign_in), path("put", put)]


class Logins(Aboard):
    """Logins with the real views: the request's cookie names the session that a login ends."""

    engine = "django.contrib.sessions.backends.db"

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(override_settings(ROOT_URLCONF=__name__, SESSION_ENGINE=self.engine))

    def test_a_login_as_another_user_ends_the_connections_of_the_session_before(self) -> None:
        browser, elsewhere = self.browse("ada"), self.browse("ada")
        ada, other_device = self.aboard(browser), self.aboard(elsewhere)
        browser.get("/in/grace")
        assert ada.expect_closed() == "unauthenticated"
        self.assert_nothing_happened(other_device)
        grace = self.aboard(browser)
        self.assert_nothing_happened(grace)

    def test_a_login_as_the_same_user_ends_nothing(self) -> None:
        browser = self.browse("ada")
        ada = self.aboard(browser)
        before = self.orders()
        browser.get("/in/ada")
        self.assert_nothing_happened(ada)
        assert self.orders() == before

    def test_a_login_over_an_anonymous_session_orders_nothing(self) -> None:
        browser = Browser()
        browser.get("/put")
        anonymous = self.live.connect(browser=browser)
        anonymous.join("deck")
        before = self.orders()
        browser.get("/in/ada")
        assert self.orders() == before
        assert self.hears(anonymous, Deck())

    def test_a_login_that_rolls_back_ends_nothing(self) -> None:
        browser = self.browse("ada")
        ada = self.aboard(browser)
        with transaction.atomic():
            browser.get("/in/grace")
            transaction.set_rollback(True)
        self.assert_nothing_happened(ada)


class LoginsWithCachedSessions(Logins):
    engine = "django.contrib.sessions.backends.cached_db"


class LoginsWithCookies(Logins):
    """Nothing on the server tells one such session from another: a login as another user ends all of the first one's."""

    engine = "django.contrib.sessions.backends.signed_cookies"

    def test_a_login_as_another_user_ends_the_connections_of_the_session_before(self) -> None:
        browser = self.browse("ada")
        ada, grace = self.live.connect(self.ada), self.live.connect(self.grace)
        browser.get("/in/grace")
        assert ada.expect_closed() == "unauthenticated"
        assert grace.connected

    def test_a_login_that_rolls_back_ends_nothing(self) -> None:
        """The cookie that the browser has does not roll back."""


class Rights(Aboard):
    def assert_ada_loses_the_bridge(self, client: LiveClient, other: LiveClient) -> None:
        assert client.expect_left("bridge") == "forbidden"
        assert self.hears(client, Deck())
        self.assert_nothing_happened(other)

    def both(self) -> tuple[LiveClient, LiveClient]:
        return self.aboard(self.browse("ada")), self.aboard(self.browse("grace"))

    def test_a_user_who_leaves_a_group(self) -> None:
        ada, grace = self.both()
        self.fetch().groups.remove(self.captains)
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_removed_from_a_group(self) -> None:
        ada, grace = self.both()
        self.captains.user_set.remove(self.fetch())
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_who_leaves_all_groups(self) -> None:
        ada, grace = self.both()
        self.fetch().groups.clear()
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_whose_group_is_emptied(self) -> None:
        ada, grace = self.both()
        self.captains.user_set.clear()
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_whose_group_loses_a_permission(self) -> None:
        ada, grace = self.both()
        self.captains.permissions.remove(permission())
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_whose_group_loses_all_permissions(self) -> None:
        ada, grace = self.both()
        self.captains.permissions.clear()
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_whose_permission_is_removed_from_all_groups(self) -> None:
        ada, grace = self.both()
        permission().group_set.clear()
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_whose_group_is_deleted(self) -> None:
        ada, grace = self.both()
        self.captains.delete()
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_user_who_loses_their_own_permission(self) -> None:
        ada, grace = self.both()
        self.fetch("grace").user_permissions.remove(permission())
        self.assert_ada_loses_the_bridge(grace, ada)

    def test_a_user_who_is_no_longer_superuser(self) -> None:
        User.objects.filter(username="ada").update(is_superuser=True)  # of which no signal tells
        self.captains.user_set.clear()
        ada, grace = self.both()
        user = self.fetch()
        user.is_superuser = False
        user.save()
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_change_without_a_signal_can_be_announced_by_recheck(self) -> None:
        ada, grace = self.both()
        User.groups.through.objects.filter(user=self.ada).delete()
        self.assert_nothing_happened(ada)
        holdfast.recheck(self.ada)
        self.assert_ada_loses_the_bridge(ada, grace)

    def test_a_topic_and_a_class_of_topics_can_be_rechecked(self) -> None:
        for recheck in (Bridge.recheck, Bridge().recheck):
            ada, grace = self.both()
            User.groups.through.objects.filter(user=self.ada).delete()
            recheck()
            self.assert_ada_loses_the_bridge(ada, grace)
            self.fetch().groups.add(self.captains)


class Unwatched(Aboard):
    revoke_on_user_signals = False

    def test_a_project_can_turn_the_receivers_off(self) -> None:
        browser = self.browse("ada")
        ada = self.aboard(browser)
        self.fetch().groups.clear()
        browser.logout()
        self.assert_nothing_happened(ada)


class Unavailable(TransactionTestCase):
    def test_a_logout_does_not_fail_with_the_log_and_counts_in_this_process(self) -> None:
        user = User.objects.create_user("ada", password=PASSWORD)
        with registry.override([Deck]), Live() as live:
            browser = Browser()
            browser.login(username="ada", password=PASSWORD)
            client = live.connect(browser=browser)
            with pytest.MonkeyPatch.context() as patch, self.assertLogs("holdfast.control", "ERROR"):
                patch.setattr(live.log, "append", _unavailable)
                browser.logout()
            assert client.expect_closed() == "unauthenticated"
            assert user.pk

    def test_a_connection_that_the_database_had_closed_does_not_lose_the_order(self) -> None:
        User.objects.create_user("ada", password=PASSWORD)
        with registry.override([Deck]), Live() as live:
            browser = Browser()
            browser.login(username="ada", password=PASSWORD)
            client = live.connect(browser=browser)
            append, failures = live.log.append, [LogUnavailable("closed")]

            def fails_once(drafts: Any) -> Any:
                if failures:
                    raise failures.pop()
                return append(drafts)

            with (
                pytest.MonkeyPatch.context() as patch,
                self.assertLogs("holdfast.control", "ERROR") as logged,
            ):
                patch.setattr(live.log, "append", fails_once)
                browser.logout()
            assert client.expect_closed() == "unauthenticated"
            assert len(logged.records) == 1
            assert live.log.heads([TOPIC])[TOPIC].offset == 1


def _unavailable(drafts: Any) -> Any:
    raise LogUnavailable("away")


@pytest.fixture(autouse=True)
def _no_other_topics() -> Iterator[None]:
    with registry.override([]):
        yield
