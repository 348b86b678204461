"""The ways to get a live client: ``live.connect`` takes what the client's class takes."""

import inspect
from typing import Any, Self

import pytest

from holdfast import Event, Topic, anyone
from holdfast.testing import AsyncLiveClient, LiveClient
from holdfast.testing.asynchronous import AsyncLive
from holdfast.testing.sync import Live
from holdfast.topics.registry import registry


@pytest.mark.parametrize(("environment", "client"), [(Live, LiveClient), (AsyncLive, AsyncLiveClient)])
def test_connect_takes_the_arguments_of_the_client(environment: Any, client: Any) -> None:
    arguments = dict(inspect.signature(client).parameters)
    del arguments["live"]  # the environment that connects
    taken = dict(inspect.signature(environment.connect).parameters)
    del taken["self"]
    assert taken == arguments


class Renamed1(Event, name="renamed"):
    title: str


class Renamed(Event, replaces=Renamed1):
    name: str

    @classmethod
    def upcast(cls, old: Renamed1) -> Self:
        return cls(old.title)

    def downcast(self) -> Renamed1:
        return Renamed1(self.name)


class Hall(Topic):
    route = "halls/<slug:hall>"
    events = [Renamed]
    may_join = anyone


@pytest.mark.django_db(transaction=True)
def test_a_client_of_the_version_before_gets_that_version(live: Live) -> None:
    with registry.override([Hall]):
        older, newer = live.connect(versions={"renamed": 1}), live.connect()
        for client in (older, newer):
            client.join("halls/north")
        Hall(hall="north").publish(Renamed("x"))
        older.expect("renamed", title="x")
        newer.expect("renamed", name="x")
