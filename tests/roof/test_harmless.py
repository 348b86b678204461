"""Holdfast's own work inside requests and transactions of the project, which it must not break."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import logout
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.signals import user_logged_out
from django.db import DatabaseError, connections, transaction
from django.db.models.signals import post_init, post_save
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.test import Client as Browser
from django.test import override_settings
from django.urls import path

from holdfast import Event, Keep, Topic, wiring
from holdfast import runtime as runtimes
from holdfast.control.commands import TOPIC
from holdfast.log.base import LogError, NotMigrated
from holdfast.topics.registry import registry

PASSWORD = "correct horse"
TABLES = ("holdfast_topic", "holdfast_entry", "holdfast_outbox")


class Rung(Event):
    n: int


class Deck(Topic):
    route = "deck"
    events = [Rung]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True


class One:
    """A router that uses one database for everything."""

    alias = ""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


def sign_out(request: HttpRequest) -> HttpResponse:
    Group.objects.create(name="before")
    logout(request)
    Group.objects.create(name="after")
    return HttpResponse("gone")


urlpatterns = [path("out", sign_out)]


@pytest.fixture
def site(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The alias of the only database of a project."""
    monkeypatch.setattr(One, "alias", database)
    monkeypatch.setitem(connections[database].settings_dict, "ATOMIC_REQUESTS", True)
    with (
        override_settings(
            HOLDFAST={"DATABASE": database},
            DATABASE_ROUTERS=[f"{__name__}.One"],
            ROOT_URLCONF=__name__,
        ),
        registry.override([Deck]),
    ):
        yield database
        runtimes.current().control.retry_queue.forget()


@contextmanager
def without_tables(alias: str) -> Iterator[None]:
    """Before ``migrate``."""

    def rename(old: str, new: str) -> None:
        with connections[alias].cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"ALTER TABLE {old}{table} RENAME TO {new}{table}")

    rename("", "away_")
    try:
        yield
    finally:
        rename("away_", "")


def signed_in() -> Browser:
    User.objects.create_user("ada", password=PASSWORD)
    browser = Browser()
    assert browser.login(username="ada", password=PASSWORD)
    return browser


def names() -> list[str]:
    return list(Group.objects.order_by("name").values_list("name", flat=True))


# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_logout_before_migrate_commits_and_takes_effect_after_migrate(site: str) -> None:
    browser = signed_in()
    with without_tables(site):
        response = browser.get("/out")
        assert response.status_code == 200
        assert names() == ["after", "before"]
        assert browser.cookies["sessionid"].value == ""
        postponed = runtimes.current().control.retry_queue
        assert len(postponed) == 1
    assert postponed.flush(20)
    assert runtimes.current().log.heads([TOPIC])[TOPIC].offset == 1


CHANGES: dict[str, Callable[[User, Group, Permission], object]] = {
    "a new password": lambda user, group, right: (user.set_password("battery"), user.save()),
    "a deleted user": lambda user, group, right: user.delete(),
    "users deleted by a queryset": lambda user, group, right: User.objects.filter(pk=user.pk).delete(),
    "a group left": lambda user, group, right: user.groups.remove(group),
    "a group emptied": lambda user, group, right: group.user_set.clear(),
    "a permission taken from a group": lambda user, group, right: group.permissions.remove(right),
    "a permission taken from all groups": lambda user, group, right: right.group_set.clear(),
    "a deleted group": lambda user, group, right: group.delete(),
}


def people() -> tuple[User, Group, Permission]:
    user = User.objects.create_user("ada", password=PASSWORD)
    group, right = Group.objects.create(name="captains"), Permission.objects.get(codename="view_group")
    group.permissions.add(right)
    user.groups.add(group)
    return user, group, right


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_users_in_a_transaction_before_migrate_is_committed(
    site: str, change: Callable[[User, Group, Permission], object]
) -> None:
    user, group, right = people()
    ran: list[str] = []
    with without_tables(site):
        with transaction.atomic(using=site):
            transaction.on_commit(lambda: ran.append("before"), using=site, robust=True)
            change(user, group, right)
            Group.objects.create(name="after")
            transaction.on_commit(lambda: ran.append("after"), using=site)
        assert len(runtimes.current().control.retry_queue) == 1
    assert ran == ["before", "after"]
    assert "after" in names()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_failing_query_of_holdfast_does_not_break_the_users_transaction(
    site: str, change: Callable[[User, Group, Permission], object], caplog: pytest.LogCaptureFixture
) -> None:
    user, group, right = people()
    asked: list[str] = []

    def fails(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        ours = sql.startswith("SELECT DISTINCT") or "LIMIT 1001" in sql or "holdfast_" in sql
        if ours:
            asked.append(sql)
        return (
            execute("SELECT * FROM nowhere", () if not many else [()], many, context)
            if ours
            else execute(sql, params, many, context)
        )

    with connections[site].execute_wrapper(fails), transaction.atomic(using=site):
        change(user, group, right)
        Group.objects.create(name="after")
    assert asked
    assert "after" in names()
    assert any(record.levelno >= logging.ERROR for record in caplog.records)


def test_in_a_transaction_that_the_user_broke_no_revocation_is_written(
    site: str, caplog: pytest.LogCaptureFixture
) -> None:
    user, _, _ = people()
    before = runtimes.current().log.heads([TOPIC])[TOPIC].offset
    with transaction.atomic(using=site):
        transaction.set_rollback(True, using=site)
        user_logged_out.send(sender=User, request=_Request(), user=user)
        post_save.send(
            sender=User,
            instance=User(pk=user.pk, password="x"),
            created=False,
            update_fields=None,
            using=site,
        )
    assert not caplog.records
    assert runtimes.current().log.heads([TOPIC])[TOPIC].offset == before
    assert len(runtimes.current().control.retry_queue) == 0


def test_a_manual_transaction_commits_or_rolls_back_revocations_and_events(site: str) -> None:
    user, _, _ = people()
    log = runtimes.current().log
    before = log.heads([TOPIC])[TOPIC].offset
    for end, more in (("rollback", 0), ("commit", 1)):
        transaction.set_autocommit(False, using=site)
        try:
            user_logged_out.send(sender=User, request=_Request(), user=user)
            Deck().publish(Rung(1))
            Group.objects.create(name=end)
            getattr(transaction, end)(using=site)
        finally:
            transaction.set_autocommit(True, using=site)
        found = log.heads([TOPIC, "deck"])
        assert (found[TOPIC].offset, found["deck"].offset) == (before + more, more)
    assert names() == ["captains", "commit"]


def test_a_manual_transaction_survives_a_revocation_before_migrate(site: str) -> None:
    user, _, _ = people()
    with without_tables(site):
        transaction.set_autocommit(False, using=site)
        try:
            Group.objects.create(name="before")
            user_logged_out.send(sender=User, request=_Request(), user=user)
            Group.objects.create(name="after")
            transaction.commit(using=site)
        finally:
            transaction.set_autocommit(True, using=site)
        assert len(runtimes.current().control.retry_queue) == 1
    assert names() == ["after", "before", "captains"]


class _Session:
    session_key = "k" * 32


class _Request:
    session = _Session()


def test_without_a_runtime_users_still_log_out_and_are_saved(
    site: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser = signed_in()
    runtimes.install(None)  # type: ignore[arg-type]
    try:
        assert browser.get("/out").status_code == 200
        user = User.objects.get(username="ada")
        user.is_active = False
        user.save()
        user.delete()
    finally:
        wiring.install()
    assert names() == ["after", "before"]
    assert not User.objects.exists()
    assert {record.name for record in caplog.records} == {"holdfast.user_signals"}
    assert "REAUTHORIZE_SECONDS" in caplog.records[0].getMessage()


def test_with_settings_that_cannot_be_read_users_still_log_out(
    site: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser = signed_in()
    with override_settings(HOLDFAST={"NONSENSE": 1}):
        assert browser.get("/out").status_code == 200
    assert names() == ["after", "before"]
    assert [record.name for record in caplog.records] == ["holdfast.user_signals"]


def test_on_a_database_that_cannot_hold_the_log_a_password_is_changed_and_the_way_out_is_logged(
    site: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vendor without a dialect, such as MySQL."""
    user = User.objects.create_user("ada", password=PASSWORD)
    with (
        override_settings(HOLDFAST={"DATABASE": site, "GROUP_EVENTS": False}),
        monkeypatch.context() as patch,
    ):
        patch.setattr("holdfast.log.dialects.DIALECTS", {})
        user.set_password("battery staple")
        user.save()
    assert User.objects.get().check_password("battery staple")
    assert [record.name for record in caplog.records] == ["holdfast.user_signals"]
    assert '"LOG": "redis"' in caplog.text


class Thorny(User):
    """Every attribute raises."""

    class Meta:
        proxy = True
        app_label = "auth"

    def __getattribute__(self, name: str) -> Any:
        if name in ("pk", "__dict__"):
            raise LookupError(name)
        return super().__getattribute__(name)


def test_an_error_in_an_attribute_of_the_user_does_not_break_the_request(
    site: str, caplog: pytest.LogCaptureFixture
) -> None:
    user = object.__new__(Thorny)
    with transaction.atomic(using=site):
        user_logged_out.send(sender=Thorny, request=_Request(), user=user)
        post_init.send(sender=User, instance=user)
        post_save.send(sender=User, instance=user, created=False, update_fields=None, using=site)
        Group.objects.create(name="after")
    assert names() == ["after"]
    assert [record.name for record in caplog.records] == ["holdfast.user_signals"] * 3


def test_an_error_in_the_session_does_not_break_the_request(
    site: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Request:
        @property
        def session(self) -> Any:
            raise LookupError("no store")

    user_logged_out.send(sender=User, request=Request(), user=people()[0])
    assert [record.name for record in caplog.records] == ["holdfast.user_signals"]


@pytest.mark.parametrize("log", ["redis", "database"])
def test_with_a_redis_that_is_away_users_still_log_out_and_their_hooks_run(
    site: str, log: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser, ran = signed_in(), []
    with override_settings(
        HOLDFAST={"DATABASE": site, "REDIS": "redis://127.0.0.1:1/0", "LOG": log, "BACKPLANE": "redis"}
    ):
        assert browser.get("/out").status_code == 200
        with transaction.atomic(using=site):
            transaction.on_commit(lambda: ran.append("before"), using=site)
            user_logged_out.send(sender=User, request=_Request(), user=User.objects.get())
            Deck().publish(Rung(1))
            transaction.on_commit(lambda: ran.append("after"), using=site)
        assert names() == ["after", "before"]
        assert ran == ["before", "after"]
        runtimes.current().control.retry_queue.forget()


# ── what the user asked for ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_publish_that_fails_marks_the_transaction_as_a_save_does(site: str) -> None:
    with without_tables(site):
        with transaction.atomic(using=site):
            Group.objects.create(name="before")
            with pytest.raises(NotMigrated):
                Deck().publish(Rung(1))
            with pytest.raises(TransactionManagementError):
                Group.objects.create(name="after")
        assert names() == []


def test_a_publish_that_fails_in_a_savepoint_leaves_the_rest(site: str) -> None:
    with without_tables(site), transaction.atomic(using=site):
        Group.objects.create(name="before")
        try:
            with transaction.atomic(using=site):
                Deck().publish(Rung(1))
        except (LogError, DatabaseError):
            Group.objects.create(name="after")
    assert names() == ["after", "before"]
