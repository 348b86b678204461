"""The client in Django's TestCase, whose transaction never commits."""

import time
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import TestCase, override_settings

from holdfast.testing import CallError, Disconnected, JoinError, Live, LiveClient
from holdfast.topics.registry import registry
from tests.testing.harbour import TOPICS, MessagePosted, Moved, Radar, Room, Typing, harbour, person
from tests.testing.hooking import Stack, hooked

LOBBY = Room(room="lobby")


class HarbourTestCase(TestCase):
    ada: ClassVar[User]
    grace: ClassVar[User]
    linus: ClassVar[User]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.ada, cls.grace = person("ada", "lobby", "captains"), person("grace", "lobby")
        cls.linus = person("linus")

    def setUp(self) -> None:
        self.enterContext(harbour())


class Calling(HarbourTestCase):
    def test_a_member_sees_what_another_says(self) -> None:
        with LiveClient(self.ada) as ada, LiveClient(self.grace) as grace:
            ada.join("rooms/lobby")
            grace.join(LOBBY)
            number = ada.call("rooms/lobby", "post", body="hi")
            event = grace.expect("message.posted", body="hi")
            assert event == MessagePosted(number, "ada", "hi")
            assert number == Group.objects.get(name="hi").pk
            grace.expect_nothing()

    def test_an_event_can_be_expected_by_its_class(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.call(LOBBY, "post", body="hi")
            assert ada.expect(MessagePosted, author="ada").body == "hi"

    def test_a_handler_sees_the_rows_of_the_test_and_the_test_those_of_the_handler(self) -> None:
        Group.objects.create(name="made by the test")
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.call(LOBBY, "post", body="hi")
            assert ada.call(LOBBY, "count") == Group.objects.count()
            assert Group.objects.filter(name="hi").exists()

    def test_a_call_repeated_with_its_key_is_carried_out_once(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            first = ada.call(LOBBY, "post", body="hi", key="k-1")
            assert ada.call(LOBBY, "post", body="hi", key="k-1") == first
            ada.expect("message.posted", body="hi")
            ada.expect_nothing()

    def test_calls_without_a_key_each_run(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            assert ada.call(LOBBY, "post", body="1") != ada.call(LOBBY, "post", body="2")

    def test_an_async_action_publishes_to_others_only(self) -> None:
        with LiveClient(self.ada) as ada, LiveClient(self.grace) as grace:
            ada.join(LOBBY)
            grace.join(LOBBY)
            ada.call(LOBBY, "typing")
            grace.expect(Typing, author="ada")
            ada.expect_nothing()

    def test_a_refusal_has_the_applications_reason_and_delivers_nothing(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            with pytest.raises(CallError, match="refused, reason 'too_late', retry after 7 s") as raised:
                ada.call(LOBBY, "refuse")
            error = raised.value
            assert (error.code, error.reason, error.retry_after) == ("refused", "too_late", 7)
            ada.expect_nothing()

    def test_the_error_of_a_handler_is_the_cause(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            with pytest.raises(CallError) as raised:
                ada.call(LOBBY, "fail")
            assert raised.value.code == "internal"
            assert isinstance(raised.value.__cause__, ZeroDivisionError)

    def test_arguments_that_do_not_fit_are_an_error(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            with pytest.raises(CallError) as raised:
                ada.call(LOBBY, "post", {"body": ""})
            assert raised.value.code == "invalid_payload"

    def test_rates_hold(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.call(LOBBY, "knock")
            ada.call(LOBBY, "knock")
            with pytest.raises(CallError, match="rate_limited, retry after"):
                ada.call(LOBBY, "knock")

    def test_the_synchronous_orm_in_an_async_action_is_an_error_with_the_way_out(self) -> None:
        with LiveClient(self.ada) as ada, self.assertLogs("holdfast.calls", "ERROR") as logs:
            ada.join(LOBBY)
            with pytest.raises(CallError) as raised:
                ada.call(LOBBY, "careless")
        assert raised.value.code == "internal"
        assert "an async def used the database as synchronous code does" in logs.output[0]
        assert "Make it a plain def" in logs.output[0]

    def test_rates_can_be_lifted(self) -> None:
        with Live(rates=False) as live:
            ada = live.connect(self.ada)
            ada.join(LOBBY)
            for _ in range(5):
                ada.call(LOBBY, "knock")

    def test_rates_of_topics_hold(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(Radar())
            Radar().publish(*(Moved("Vasa", knots) for knots in range(3)))
            ada.expect(Moved, ship="Vasa", knots=0)
            ada.expect(Moved, ship="Vasa", knots=2)

    def test_rates_of_topics_can_be_lifted(self) -> None:
        with Live(rates=False) as live:
            ada = live.connect(self.ada)
            ada.join(Radar())
            Radar().publish(*(Moved("Vasa", knots) for knots in range(3)))
            for knots in range(3):
                ada.expect(Moved, ship="Vasa", knots=knots)

    def test_many_calls_in_a_row_are_not_rate_limited(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            for number in range(150):
                ada.call(LOBBY, "post", body=str(number))
            assert [r.payload["body"] for r in ada.unread] == [str(n) for n in range(150)]


class Joining(HarbourTestCase):
    def test_a_user_who_may_not_join_gets_forbidden(self) -> None:
        for user, name in [(self.linus, "rooms/lobby"), (None, "rooms/lobby"), (self.ada, "no/such")]:
            # Plain values: pytest-subtests sends them from a worker of pytest-xdist as they are.
            with self.subTest(user=str(user), name=name), LiveClient(user) as client:
                with pytest.raises(JoinError) as raised:
                    client.join(name)
                assert raised.value.code == "forbidden"

    def test_a_lost_right_ends_the_subscription_at_the_next_call(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            self.ada.groups.clear()
            with pytest.raises(CallError) as raised:
                ada.call(LOBBY, "post", body="hi")
            assert raised.value.code == "forbidden"
            assert ada.expect_left(LOBBY) == "forbidden"

    def test_a_users_own_topic_is_joined_as_me(self) -> None:
        with LiveClient(self.ada) as ada:
            joined = ada.join("inbox/me")
            assert joined.topic == f"inbox/{self.ada.pk}"
            assert joined.snapshot == {"of": str(self.ada.pk)}
            assert joined.position is None

    def test_no_event_arrives_after_leaving(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.leave(LOBBY)
            LOBBY.publish(MessagePosted(1, "test", "unheard"))
            ada.expect_nothing()

    def test_history_is_replayed_from_a_position(self) -> None:
        start = LOBBY.position()
        LOBBY.publish(MessagePosted(1, "test", "one"), MessagePosted(2, "test", "two"))
        with LiveClient(self.ada) as ada:
            assert ada.join(LOBBY, since=start).recovered is True
            ada.expect("message.posted", body="one")
            ada.expect("message.posted", body="two")
            ada.expect_nothing()

    def test_events_published_before_a_join_do_not_arrive(self) -> None:
        with LiveClient(self.ada) as ada:
            start = LOBBY.position()
            LOBBY.publish(MessagePosted(1, "test", "before"))
            position = ada.join(LOBBY).position
            assert position is not None
            assert position.offset == start.offset + 1
            ada.expect_nothing()

    def test_an_interrupted_long_history_continues_where_it_stopped(self) -> None:
        start = LOBBY.position()
        LOBBY.publish(*(MessagePosted(n, "test", str(n)) for n in range(1000)))
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY, since=start)
            ada.drop()
            assert len(ada.received) < 1000  # else this test tests nothing
            ada.resume()
            for n in range(1000):
                ada.expect("message.posted", id=n)
            ada.expect_nothing()


class Committing(HarbourTestCase):
    def test_what_the_test_publishes_is_delivered(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            LOBBY.publish(MessagePosted(1, "test", "durable"), Typing("test"))
            ada.expect("message.posted", body="durable")
            ada.expect("typing", author="test")
            ada.expect_nothing()

    def test_an_event_that_is_larger_than_the_setting_allows_is_refused_as_in_production(self) -> None:
        with override_settings(HOLDFAST={"EVENT_BYTES": 100}), LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            with pytest.raises(ValueError, match="EVENT_BYTES"):
                LOBBY.publish(MessagePosted(1, "ada", "x" * 100))
            ada.expect_nothing()

    def test_an_event_that_is_there_is_not_waited_for(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            LOBBY.publish(MessagePosted(1, "test", "here"))
            began = time.monotonic()
            ada.expect("message.posted", within=20)
            assert time.monotonic() - began < 10

    def test_events_of_a_rolled_back_savepoint_are_not_delivered(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            try:
                with transaction.atomic():
                    LOBBY.publish(MessagePosted(1, "test", "durable"), Typing("test"))
                    raise LookupError
            except LookupError:
                pass
            ada.expect_nothing()

    def test_events_of_a_rolled_back_savepoint_in_an_action_are_not_delivered(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.call(LOBBY, "post_and_think_again", body="this one")
            ada.expect("message.posted", body="this one")
            ada.expect_nothing()

    def test_nothing_is_delivered_before_the_tests_own_atomic_ends(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            with transaction.atomic():
                LOBBY.publish(MessagePosted(1, "test", "later"))
                ada.expect_nothing()
                with pytest.raises(AssertionError, match=r"the test has a transaction\.atomic\(\) open"):
                    ada.expect("message.posted", within=0.01)
            ada.expect("message.posted", body="later")

    def test_other_callbacks_run_as_after_a_commit_and_once(self) -> None:
        ran: list[str] = []
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            transaction.on_commit(lambda: ran.append("test"))
            ada.call(LOBBY, "post_later", body="later")
            ada.expect("message.posted", body="later")
            ada.expect_nothing()
        assert ran == ["test"]

    def test_callbacks_are_still_captured_and_not_run_twice(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            with self.captureOnCommitCallbacks(execute=True) as callbacks:
                ada.call(LOBBY, "post_later", body="once")
            assert callbacks
            ada.expect("message.posted", body="once")
            ada.expect_nothing()

    def test_an_error_in_a_callback_is_raised_in_the_test(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            transaction.on_commit(fail)
            with pytest.raises(ZeroDivisionError):
                ada.expect_nothing()

    def test_an_error_in_a_robust_callback_is_only_logged(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            transaction.on_commit(fail, robust=True)
            with self.assertLogs("holdfast.testing", "ERROR"):
                ada.expect_nothing()


class PublishedForTheClass(TestCase):
    ada: ClassVar[User]
    start: ClassVar[Any]
    ran: ClassVar[list[str]] = []

    @classmethod
    def setUpTestData(cls) -> None:
        cls.ada = person("ada", "lobby")
        with registry.override(TOPICS):
            cls.start = LOBBY.position()
            LOBBY.publish(MessagePosted(1, "class", "for all tests"))
        transaction.on_commit(lambda: cls.ran.append("ran"))

    def setUp(self) -> None:
        self.enterContext(harbour())
        self.ran.clear()

    def check(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY, since=self.start)
            ada.expect("message.posted", body="for all tests")
            ada.expect_nothing()
        assert self.ran == ["ran"]

    def test_is_in_the_log_of_one_test(self) -> None:
        self.check()

    def test_and_of_the_other(self) -> None:
        self.check()


class PublishedForTheClassInABlock(PublishedForTheClass):
    """An ``atomic()`` that has ended changes nothing."""

    @classmethod
    def setUpTestData(cls) -> None:
        with transaction.atomic():
            super().setUpTestData()


class BesideALibraryThatHooksAtomic(HarbourTestCase):
    stack: ClassVar[Stack]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = cls.enterClassContext(hooked())
        super().setUpClass()

    def test_its_callbacks_wait_for_the_tests_own_blocks(self) -> None:
        for body in ("first", "second"):
            with LiveClient(self.ada) as ada:
                ada.join(LOBBY)
                ada.call(LOBBY, "post", body=body)
                ada.expect("message.posted", body=body)
                with transaction.atomic():
                    self.stack.push(body)
                    LOBBY.publish(MessagePosted(1, "ada", "committed"))
                ada.expect("message.posted", body="committed")
        assert len(self.stack) == len(connection.atomic_blocks) == 2
        assert self.stack.done == []

    def test_its_callbacks_are_not_reported_as_held_back(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            with transaction.atomic(), pytest.raises(AssertionError) as raised:
                ada.expect("message.posted", within=0.01)
        assert "atomic()" not in str(raised.value)


class ComingBack(HarbourTestCase):
    def test_after_resuming_exactly_the_missed_events_arrive(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            LOBBY.publish(MessagePosted(1, "test", "before"))
            ada.expect("message.posted", body="before")
            ada.drop()
            LOBBY.publish(MessagePosted(2, "test", "meanwhile"))
            assert ada.resume()["rooms/lobby"].recovered is True
            ada.expect("message.posted", body="meanwhile")
            LOBBY.publish(MessagePosted(3, "test", "after"))
            ada.expect("message.posted", body="after")
            ada.expect_nothing()

    def test_it_is_the_same_client(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.drop()
            LOBBY.publish(MessagePosted(1, "test", "not for ada's client"), exclude=ada.id)
            ada.resume()
            ada.expect_nothing()

    def test_a_dropped_client_cannot_send_requests(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.drop()
            assert not ada.connected
            with pytest.raises(Disconnected, match="dropped: There is no connection; open or resume"):
                ada.call(LOBBY, "knock")
            with pytest.raises(AssertionError, match="the test dropped the connection"):
                ada.expect("message.posted")

    def test_a_user_who_lost_the_right_cannot_resume(self) -> None:
        with LiveClient(self.ada) as ada:
            ada.join(LOBBY)
            ada.drop()
            self.ada.groups.clear()
            with pytest.raises(JoinError):
                ada.resume()

    def test_a_position_past_retention_is_reported(self) -> None:
        with Live() as live:
            ada = live.connect(self.ada)
            ada.join(LOBBY)
            ada.drop()
            LOBBY.publish(*(MessagePosted(n, "test", str(n)) for n in range(3)))
            ada_again = live.connect(self.ada)
            ada_again.join(LOBBY)
            live.log.trim(LOBBY.name, count=1)
        with Live() as live:  # a hub that has nothing in its memory
            new = live.connect(self.ada)
            assert new.join(LOBBY, since=ada.position(LOBBY)).recovered is False


class ReadingSlowly(HarbourTestCase):
    def test_events_held_back_by_the_server_arrive_after_reading(self) -> None:
        with LiveClient(self.ada) as slow, LiveClient(self.grace) as quick:
            slow.join(LOBBY)
            quick.join(LOBBY)
            slow.stall()
            for n in range(5):
                LOBBY.publish(MessagePosted(n, "test", str(n)))
                quick.expect("message.posted", id=n)
            assert slow.read() == 1  # one was on its way, the others wait in the log
            for n in range(5):
                slow.expect("message.posted", id=n)
            slow.expect_nothing()

    def test_a_stalled_client_cannot_expect_events(self) -> None:
        with LiveClient(self.ada) as slow:
            slow.join(LOBBY)
            slow.stall()
            with pytest.raises(RuntimeError, match="reads nothing since stall"):
                slow.expect("message.posted")
            with pytest.raises(RuntimeError, match="reads nothing since stall"):
                slow.call(LOBBY, "knock")

    def test_unread_events_are_lost_with_the_connection_and_arrive_again(self) -> None:
        with LiveClient(self.ada) as slow:
            slow.join(LOBBY)
            slow.stall()
            LOBBY.publish(MessagePosted(1, "test", "unread"))
            slow.drop()
            assert slow.unread == ()
            slow.resume()
            slow.expect("message.posted", body="unread")
            slow.expect_nothing()
