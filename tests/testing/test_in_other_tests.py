"""The clients in TransactionTestCase, async test cases, pytest and pytest-asyncio."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group, User
from django.db import connections, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from holdfast.log.memory import MemoryLog
from holdfast.testing import AsyncLive, AsyncLiveClient, CallError, Disconnected, JoinError, Live, LiveClient
from tests.testing.harbour import MessagePosted, Room, Typing, harbour, person

LOBBY = Room(room="lobby")


class InTransactionTestCase(TransactionTestCase):
    def setUp(self) -> None:
        self.enterContext(harbour())
        self.ada, self.grace = person("ada", "lobby"), person("grace", "lobby")
        self.live = self.enterContext(Live())

    def test_a_member_sees_what_another_says(self) -> None:
        ada, grace = self.live.connect(self.ada), self.live.connect(self.grace)
        ada.join(LOBBY)
        grace.join(LOBBY)
        ada.call(LOBBY, "post", body="hi")
        grace.expect("message.posted", body="hi")
        grace.expect_nothing()

    def test_what_rolls_back_is_not_delivered_and_what_commits_is(self) -> None:
        ada = self.live.connect(self.ada)
        ada.join(LOBBY)
        ada.call(LOBBY, "post_and_think_again", body="this one")
        with transaction.atomic():
            LOBBY.publish(MessagePosted(1, "test", "that one"))
            with pytest.raises(AssertionError, match=r"transaction.atomic\(\) open"):
                ada.expect("message.posted", body="this one") and ada.expect("message.posted", within=0.01)
        ada.expect("message.posted", body="that one")
        ada.expect_nothing()

    def test_what_another_thread_publishes_is_delivered(self) -> None:
        ada = self.live.connect(self.ada)
        ada.join(LOBBY)

        def publish() -> None:
            LOBBY.publish(MessagePosted(1, "thread", "from a thread"))
            connections.close_all()

        thread = threading.Thread(target=publish)
        thread.start()
        thread.join()
        ada.expect("message.posted", author="thread")

    @pytest.mark.timeout(30)
    def test_what_async_code_publishes_is_delivered(self) -> None:
        """The test's thread waits for that code, so it cannot do work for it."""
        ada = self.live.connect(self.ada)
        ada.join(LOBBY)
        async_to_sync(LOBBY.apublish)(MessagePosted(1, "test", "by itself"))
        with transaction.atomic():
            async_to_sync(LOBBY.apublish)(MessagePosted(2, "test", "in a transaction"))
            assert async_to_sync(LOBBY.aposition)().offset == 1
        thread = threading.Thread(
            target=asyncio.run, args=[LOBBY.apublish(MessagePosted(3, "thread", "on another loop"))]
        )
        thread.start()
        thread.join()

        for number in (1, 2, 3):
            ada.expect("message.posted", id=number)
        async_to_sync(LOBBY.aevict)(self.ada)
        ada.expect_left(LOBBY)

    def test_missed_events_arrive_after_resuming(self) -> None:
        ada = self.live.connect(self.ada)
        ada.join(LOBBY)
        ada.drop()
        LOBBY.publish(MessagePosted(1, "test", "meanwhile"))
        ada.resume()
        ada.expect("message.posted", body="meanwhile")
        ada.expect_nothing()


class InAsyncTestCase(TestCase):
    def setUp(self) -> None:
        self.enterContext(harbour())
        self.ada, self.grace = person("ada", "lobby"), person("grace", "lobby")
        self.linus = person("linus")

    async def test_a_member_sees_what_another_says(self) -> None:
        async with AsyncLiveClient(self.ada) as ada, AsyncLiveClient(self.grace) as grace:
            await ada.join(LOBBY)
            await grace.join(LOBBY)
            number = await ada.call(LOBBY, "post", body="hi")
            event = await grace.expect(MessagePosted, body="hi")
            assert (await Group.objects.aget(name="hi")).pk == number == event.id
            await ada.call(LOBBY, "typing")
            await grace.expect(Typing)
            await grace.expect_nothing()

    async def test_savepoints_are_respected(self) -> None:
        async with AsyncLiveClient(self.ada) as ada:
            await ada.join(LOBBY)
            await ada.call(LOBBY, "post_and_think_again", body="this one")
            await sync_to_async(LOBBY.publish)(MessagePosted(1, "test", "that one"))
            await LOBBY.apublish(MessagePosted(1, "test", "and that"))
            for body in ["this one", "that one", "and that"]:
                await ada.expect("message.posted", body=body)
            await ada.expect_nothing()

    async def test_an_event_is_waited_for(self) -> None:
        async with AsyncLiveClient(self.ada) as ada:
            await ada.join(LOBBY)
            expecting = asyncio.create_task(ada.expect("message.posted", body="later"))
            await asyncio.sleep(0.05)
            assert not expecting.done()
            await LOBBY.apublish(MessagePosted(1, "test", "later"))
            await expecting

    async def test_a_user_who_may_not_join_gets_forbidden(self) -> None:
        async with AsyncLiveClient(self.linus) as linus:
            with pytest.raises(JoinError) as raised:
                await linus.join(LOBBY)
        assert raised.value.code == "forbidden"

    async def test_dropping_resuming_and_reading_slowly(self) -> None:
        async with AsyncLive() as live:
            ada = await live.connect(self.ada)
            await ada.join(LOBBY)
            await ada.drop()
            await LOBBY.apublish(MessagePosted(1, "test", "meanwhile"))
            await ada.resume()
            await ada.expect("message.posted", body="meanwhile")
            await ada.stall()
            for n in range(3):
                await LOBBY.apublish(MessagePosted(n, "test", "much"))
            assert await ada.read() == 1
            for n in range(3):
                await ada.expect("message.posted", id=n)
            await ada.expect_nothing()

    async def test_waiting_for_an_answer_ends_when_the_connection_does(self) -> None:
        async with AsyncLiveClient(self.ada) as ada:
            await ada.join(LOBBY)
            calling = asyncio.create_task(ada.call(LOBBY, "post", body="hi", key="k"))
            async with asyncio.timeout(5):
                while not ada._requests:  # noqa: ASYNC110 - nothing tells when the call is on its way
                    await asyncio.sleep(0)
            await ada.drop()
            with pytest.raises(Disconnected, match="dropped"):
                await calling
            await ada.resume()
            number = await ada.call(LOBBY, "post", body="hi", key="k")
            assert await Group.objects.filter(name="hi").acount() == 1
            await ada.expect(MessagePosted, id=number)
            await ada.expect_nothing()

    async def test_a_sync_client_in_an_async_test_names_the_async_one(self) -> None:
        with pytest.raises(RuntimeError, match="in an async def test use AsyncLiveClient"):
            LiveClient(self.ada).open()

    async def test_a_sync_client_works_in_sync_code_of_an_async_test(self) -> None:
        def work() -> Any:
            with LiveClient(self.ada) as ada:
                ada.join(LOBBY)
                ada.call(LOBBY, "post", body="hi")
                return ada.call(LOBBY, "count"), ada.expect(MessagePosted).body

        assert await sync_to_async(work)() == (await Group.objects.acount(), "hi")


class InSimpleTestCase(SimpleTestCase):
    """Without a database."""

    def test_a_memory_log_needs_no_database(self) -> None:
        self.enterContext(harbour())
        ada = User(pk=7, username="ada")
        with Live(log=MemoryLog()) as live:
            client = live.connect(ada)
            assert client.join("inbox/me").topic == "inbox/7"


# ── pytest ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pytest_with_the_fixture(live: Live, people: Any) -> None:
    ada, grace = live.connect(people["ada"]), live.connect(people["grace"])
    ada.join(LOBBY)
    grace.join(LOBBY)
    ada.call(LOBBY, "post", body="hi")
    grace.expect("message.posted", body="hi")
    grace.expect_nothing()


@pytest.mark.django_db(transaction=True)
def test_pytest_with_real_transactions(live: Live, people: Any) -> None:
    ada = live.connect(people["ada"])
    ada.join(LOBBY)
    ada.call(LOBBY, "post_and_think_again", body="this one")
    ada.expect("message.posted", body="this one")
    ada.expect_nothing()


def test_clients_find_the_fixtures_environment(live: Live, people: Any) -> None:
    with LiveClient(people["ada"]) as ada:
        ada.join(LOBBY)
        live.connect(people["grace"]).join(LOBBY)
        ada.call(LOBBY, "post", body="hi")
    assert not ada.connected
    assert live.service.connections  # it goes on after the client that found it


def test_the_calling_code_of_a_client_sees_its_errors(live: Live, people: Any) -> None:
    ada = live.connect(people["ada"])
    ada.join(LOBBY)
    with pytest.raises(CallError) as raised:
        ada.call(LOBBY, "no_such_action")
    assert raised.value.code == "unknown_action"
    assert str(raised.value).startswith("call of no_such_action on rooms/lobby by ada: unknown_action: ")


def test_a_second_environment_is_an_error(live: Live) -> None:
    with pytest.raises(RuntimeError, match="a live environment is open already"), Live():
        pass


@pytest.mark.django_db(transaction=True)
async def test_pytest_asyncio(async_live: AsyncLive) -> None:
    def people() -> list[User]:
        return [person("ada", "lobby"), person("grace", "lobby")]

    users = await sync_to_async(people)()
    ada, grace = [await async_live.connect(user) for user in users]
    await ada.join(LOBBY)
    await grace.join(LOBBY)
    number = await ada.call(LOBBY, "post", body="hi")
    assert (await grace.expect(MessagePosted, body="hi")).id == number
    assert await ada.call(LOBBY, "count") == await Group.objects.acount()
    await grace.expect_nothing()


async def test_pytest_asyncio_in_a_transaction_that_handlers_cannot_see(
    async_live: AsyncLive, db: Any
) -> None:
    with pytest.raises(RuntimeError, match=r"django_db\(transaction=True\)"):
        await async_live.connect()
