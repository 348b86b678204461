"""The admin shows the log and changes nothing."""

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path

from holdfast.log.base import Draft
from holdfast.log.database import DatabaseLog

urlpatterns = [path("admin/", admin.site.urls)]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    with override_settings(ROOT_URLCONF=__name__):
        yield client


def test_topics_are_listed_and_shown(client: Client) -> None:
    DatabaseLog("default").append([Draft(topic="rooms/lobby", name="x", payload=b"{}")])
    assert b"rooms/lobby" in client.get("/admin/holdfast/logtopic/").content
    assert client.get("/admin/holdfast/logtopic/?q=lobby").status_code == 200
    assert client.get("/admin/holdfast/outbox/").status_code == 200
    assert client.get("/admin/holdfast/callrecord/").status_code == 200


@pytest.mark.parametrize("model", ["logtopic", "outbox", "callrecord"])
def test_nothing_can_be_added(client: Client, model: str) -> None:
    assert client.get(f"/admin/holdfast/{model}/add/").status_code == 403
