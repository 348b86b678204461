"""Connection tickets: used once, by their user, for their topics, in their session; stolen and replayed ones open nothing."""

import asyncio
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.test import Client, override_settings

from holdfast import Topic, runtime, tickets
from holdfast.auth.base import AuthRequest, Identity
from holdfast.auth.ticket import TicketAuthenticator
from holdfast.auth.ticket_store import OUTSTANDING, TicketRecord, TicketStore, TooManyTickets
from holdfast.threads.threads import Threads
from holdfast.topics.registry import registry
from tests.services.databases import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default"])

ENABLED = {"AUTHENTICATOR": ["session", "ticket"]}


class Room(Topic):
    route = "rooms/<slug:room>"

    def may_join(self, user: Any) -> bool:
        return True


class Mine(Topic):
    route = "users/<me>/inbox"

    def may_join(self, user: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def enabled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = Threads(2)
    with (
        override_settings(HOLDFAST=ENABLED, ROOT_URLCONF="tests.auth.ticket_urls"),
        registry.override([Room, Mine]),
    ):
        monkeypatch.setattr(
            runtime, "current", lambda: SimpleNamespace(threads=threads, session_threads=threads)
        )
        yield
    threads.close()


@pytest.fixture
def ada() -> Any:
    return get_user_model().objects.create_user("ada", password="x")


def use(ticket: str, *headers: tuple[bytes, bytes], query: str = "") -> Identity | None:
    authenticator = TicketAuthenticator(tickets.store())
    request = AuthRequest(headers=headers, query_string=f"ticket={ticket}{query}", address="192.0.2.1")

    async def authenticate() -> Identity | None:
        return await authenticator.authenticate(request)

    return asyncio.run(authenticate())


def cookie(client: Client) -> tuple[bytes, bytes]:
    return b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()


def signed_in(user: Any, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


def test_a_ticket_opens_one_connection_of_its_user(ada: Any) -> None:
    ticket = tickets.issue(ada)
    found = use(ticket, query="&x=1")
    assert found is not None
    assert (found.user, found.topics, found.address) == (ada, None, "192.0.2.1")
    assert found.query_string == "x=1", "rules and logs see no ticket"
    assert use(ticket) is None, "replayed"


def test_a_ticket_that_two_clients_use_at_once_lets_in_one(database: str) -> None:
    store = TicketStore(database, 30)
    for _ in range(5):
        ticket = store.issue(TicketRecord(user="7"))
        found = in_threads([lambda ticket=ticket: store.use(ticket)] * 6)
        assert [each for each in found if each is not None] == [TicketRecord(user="7")]


@pytest.mark.parametrize("bad", ["", "x", "x" * 101, "\ud83d", "%00", "'; DROP TABLE"])
def test_what_is_no_ticket_is_refused(bad: str) -> None:
    assert use(bad) is None


def test_two_tickets_are_refused_and_not_used(ada: Any) -> None:
    one, two = tickets.issue(ada), tickets.issue(ada)
    assert use(one, query=f"&ticket={two}") is None
    assert use(one) is not None


def test_a_ticket_expires(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket, now = tickets.issue(ada), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31)
    assert use(ticket) is None


@override_settings(HOLDFAST={**ENABLED, "TICKET_SECONDS": 5})
def test_the_setting_says_when(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    early, late, now = tickets.issue(ada), tickets.issue(ada), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 4)
    assert use(early) is not None
    monkeypatch.setattr(time, "time", lambda: now + 6)
    assert use(late) is None


def test_a_ticket_of_a_user_who_was_deactivated_or_deleted_opens_nothing(ada: Any) -> None:
    one, two = tickets.issue(ada), tickets.issue(ada)
    get_user_model().objects.update(is_active=False)
    assert use(one) is None
    get_user_model().objects.all().delete()
    assert use(two) is None


def test_a_ticket_is_bound_to_its_topics_by_their_canonical_names(ada: Any) -> None:
    found = use(tickets.issue(ada, topics=[Room(room="a"), "rooms/b", "users/me/inbox"]))
    assert found is not None
    assert found.topics == {"rooms/a", "rooms/b", f"users/{ada.pk}/inbox"}
    assert found.covers("rooms/a")
    assert not found.covers("rooms/c")
    with pytest.raises(ValueError, match="'nowhere/1'"):
        tickets.issue(ada, topics=["nowhere/1"])


def test_a_ticket_of_no_topics_opens_none(ada: Any) -> None:
    found = use(tickets.issue(ada, topics=[]))
    assert found is not None
    assert not found.covers("rooms/a")


def test_the_database_holds_no_ticket(ada: Any) -> None:
    from holdfast.models import Ticket

    ticket = tickets.issue(ada)
    (row,) = Ticket.objects.values()
    assert ticket not in json.dumps(row)


def test_expired_rows_are_deleted_and_unused_tickets_are_bounded(
    ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.models import Ticket

    eve = get_user_model().objects.create_user("eve")
    for _ in range(OUTSTANDING):
        tickets.issue(ada)
    with pytest.raises(TooManyTickets) as raised:
        tickets.issue(ada)
    assert raised.value.retry_after == 30
    tickets.issue(eve)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31)
    tickets.issue(ada)
    assert Ticket.objects.count() == 1


def test_a_ticket_of_a_transaction_that_rolls_back_is_none(ada: Any) -> None:
    with transaction.atomic():
        ticket = tickets.issue(ada)
        transaction.set_rollback(True)
    assert use(ticket) is None


def test_an_anonymous_user_and_a_project_without_tickets_get_none(ada: Any) -> None:
    from django.contrib.auth.models import AnonymousUser

    with pytest.raises(ValueError, match="anonymous"):
        tickets.issue(AnonymousUser())
    with override_settings(HOLDFAST={}), pytest.raises(ImproperlyConfigured, match='has no "ticket"'):
        tickets.issue(ada)


# ── the view, and sessions ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_of_a_signed_in_user_gets_a_ticket(ada: Any) -> None:
    client = signed_in(ada)
    answer = client.post("/live/ticket", {"topics": ["rooms/a", "rooms/b"]})
    assert answer.status_code == 200
    assert answer.json()["expires_in"] == 30
    assert "no-store" in answer["Cache-Control"]
    found = use(answer.json()["ticket"], cookie(client))
    assert found is not None
    assert (found.user, found.topics) == (ada, {"rooms/a", "rooms/b"})
    assert found.session_key == client.cookies["sessionid"].value, "a logout ends the connection"


def test_a_page_of_another_site_gets_none(ada: Any) -> None:
    """Cross-site request forgery: the browser sends the cookie, but no token."""
    assert signed_in(ada, enforce_csrf_checks=True).post("/live/ticket").status_code == 403


def test_only_a_post_of_a_signed_in_user_is_answered(ada: Any) -> None:
    assert signed_in(ada).get("/live/ticket").status_code == 405
    answer = Client().post("/live/ticket")
    assert (answer.status_code, answer.json()["code"]) == (403, "unauthenticated")


def test_bad_and_too_many_topics_and_too_many_tickets(ada: Any) -> None:
    client = signed_in(ada)
    assert client.post("/live/ticket", {"topics": ["nowhere/1"]}).status_code == 400
    assert client.post("/live/ticket", {"topics": [f"rooms/{n}" for n in range(101)]}).status_code == 400
    for _ in range(OUTSTANDING):
        assert client.post("/live/ticket").status_code == 200
    answer = client.post("/live/ticket")
    assert (answer.status_code, answer["Retry-After"]) == (429, "30")


def test_a_stolen_ticket_is_of_no_use_beside_another_session(ada: Any) -> None:
    eve = signed_in(get_user_model().objects.create_user("eve"))
    ticket = signed_in(ada).post("/live/ticket").json()["ticket"]
    assert use(ticket, cookie(eve)) is None
    assert use(ticket) is None, "it is used up"


def test_a_ticket_of_a_session_that_was_logged_out_opens_nothing(ada: Any) -> None:
    client = signed_in(ada)
    ticket = client.post("/live/ticket").json()["ticket"]
    client.logout()
    assert use(ticket) is None


def test_a_ticket_of_a_session_from_before_a_new_password_opens_nothing(ada: Any) -> None:
    ticket = signed_in(ada).post("/live/ticket").json()["ticket"]
    ada.set_password("new")
    ada.save()
    assert use(ticket) is None


def test_the_connection_of_a_ticket_is_checked_with_its_session(ada: Any) -> None:
    client = signed_in(ada)
    found = use(client.post("/live/ticket").json()["ticket"])
    assert found is not None
    authenticator = TicketAuthenticator(tickets.store())

    async def now() -> Any:
        return await authenticator.revalidate([found])

    (holds,) = asyncio.run(now())
    assert holds.user == ada
    client.logout()
    assert asyncio.run(now()) == [None]
