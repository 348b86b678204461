"""What every log promises, as tests: a class of tests for a log inherits them and has a fixture ``log``."""

import threading
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from holdfast.log.base import Batch, Draft, Log, Trimmed
from holdfast.protocol.positions import Position
from tests.log.contract_calls import ClaimContract
from tests.log.events import drafts, numbers
from tests.log.transactions import Reports, rolled_back
from tests.services.databases import in_threads


class AppendContract:
    def test_offsets_start_at_one_and_have_no_holes(self, log: Log, topic: str) -> None:
        offsets = [log.append(drafts(topic, n))[0].entries[0].offset for n in range(5)]

        assert offsets == [1, 2, 3, 4, 5]
        assert numbers(log, topic) == [0, 1, 2, 3, 4]

    def test_a_batch_gets_neighbouring_offsets_in_its_order(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1))
        (batch,) = log.append(drafts(topic, *range(2, 500)))

        assert [entry.offset for entry in batch.entries] == list(range(2, 500))
        assert numbers(log, topic, page=100) == list(range(1, 500))

    def test_a_batch_over_several_topics_is_numbered_in_each(self, log: Log, topic: str) -> None:
        a, b = f"{topic}/a", f"{topic}/b"
        batches = log.append([*drafts(b, 1), *drafts(a, 2), *drafts(b, 3)])

        assert [(batch.topic, len(batch.entries)) for batch in batches] == [(a, 1), (b, 2)]
        assert numbers(log, a) == [2]
        assert numbers(log, b) == [1, 3]

    def test_what_append_returns_is_what_is_read(self, log: Log, topic: str) -> None:
        (batch,) = log.append(
            [
                Draft(
                    topic=topic, name="a.b", payload='{"ü":"\'%s \\u0000 🪸"}'.encode(), exclude="client-1"
                ),
                Draft(topic=topic, name="c", payload=b"null"),
            ]
        )

        assert batch.epoch == log.heads([topic])[topic].epoch
        assert log.read(topic, Position(epoch=batch.epoch, offset=0), 10) == list(batch.entries)
        assert batch.entries[0].exclude == "client-1"
        assert batch.entries[1].exclude == ""

    def test_nothing_is_written_for_no_drafts(self, log: Log) -> None:
        assert log.append([]) == []

    def test_threads_that_append_each_keep_their_order(self, log: Log, topic: str) -> None:
        def publish(writer: int) -> list[Batch]:
            return [
                batch
                for n in range(25)
                for batch in log.append(drafts(topic, writer * 1000 + n, writer * 1000 + 500 + n))
            ]

        returned = in_threads([lambda writer=writer: publish(writer) for writer in range(6)])

        found = numbers(log, topic)
        for writer in range(6):
            own = [number for number in found if number // 1000 == writer]
            assert own == [writer * 1000 + half + n for n in range(25) for half in (0, 500)]
        assert len(found) == 300
        told = [entry.offset for batches in returned for batch in batches for entry in batch.entries]
        assert sorted(told) == list(range(1, 301)), (
            "each entry is handed to exactly one caller, to be announced"
        )


class ReadContract:
    def test_a_topic_that_never_had_an_entry_has_a_head(self, log: Log, topic: str) -> None:
        head = log.heads([topic])[topic]

        assert (head.offset, head.floor) == (0, 0)
        assert log.heads([topic])[topic] == head
        assert topic in log.topics()
        assert log.read(topic, head.position, 10) == []

    def test_heads_of_many_topics_come_at_once(self, log: Log, topic: str) -> None:
        names = [f"{topic}/{n}" for n in range(400)]
        log.append([draft for name in names[::2] for draft in drafts(name, 1)])

        heads = log.heads(names)

        assert [heads[name].offset for name in names] == [1, 0] * 200
        assert log.heads([]) == {}

    def test_reading_goes_on_after_a_position(self, log: Log, topic: str) -> None:
        (batch,) = log.append(drafts(topic, *range(1, 11)))

        entries = log.read(topic, Position(epoch=batch.epoch, offset=4), 3)

        assert [entry.offset for entry in entries] == [5, 6, 7]

    def test_a_position_of_another_epoch_cannot_be_read_from(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2))

        with pytest.raises(Trimmed) as caught:
            log.read(topic, Position(epoch="other", offset=1), 10)
        assert caught.value.head == log.heads([topic])[topic]

    def test_a_position_beyond_the_head_cannot_be_read_from(self, log: Log, topic: str) -> None:
        (batch,) = log.append(drafts(topic, 1, 2))

        with pytest.raises(Trimmed):
            log.read(topic, Position(epoch=batch.epoch, offset=3), 10)

    def test_a_topic_that_nobody_knows_cannot_be_read_from(self, log: Log, topic: str) -> None:
        with pytest.raises(Trimmed) as caught:
            log.read(topic, Position(epoch="k3", offset=5), 10)
        assert caught.value.head.offset == 0

    def test_exactly_returns_a_value_with_its_position(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2))

        position, value = log.exactly(topic, lambda: "state")

        assert value == "state"
        assert position == log.heads([topic])[topic].position

    def test_exactly_works_on_a_topic_that_nobody_knows(self, log: Log, topic: str) -> None:
        position, _ = log.exactly(topic, lambda: None)

        assert position.offset == 0

    def test_an_error_in_what_exactly_takes_passes(self, log: Log, topic: str) -> None:
        with pytest.raises(ZeroDivisionError):
            log.exactly(topic, lambda: 1 // 0)


class TransactionContract:
    """``log.alias`` names the database whose transactions it takes part in."""

    def test_it_knows_whether_it_is_in_a_transaction(self, log: Log) -> None:
        assert not log.in_transaction()
        with transaction.atomic(using=log.alias):
            assert log.in_transaction()

    def test_events_become_real_when_their_transaction_commits(self, log: Log, topic: str) -> None:
        reports = Reports()
        with transaction.atomic(using=log.alias):
            log.enlist(drafts(topic, 1, 2), reports)
            log.enlist(drafts(topic, 3), reports)
            assert log.heads([topic])[topic].offset == 0
            assert not reports.calls

        assert numbers(log, topic) == [1, 2, 3]
        assert reports.offsets == [1, 2, 3]

    def test_whoever_is_told_of_the_commit_is_out_of_the_transaction_and_in_its_thread(
        self, log: Log, topic: str
    ) -> None:
        seen = []
        with transaction.atomic(using=log.alias):
            log.enlist(
                drafts(topic, 1), lambda _: seen.append((log.in_transaction(), threading.current_thread()))
            )

        assert seen == [(False, threading.current_thread())]

    def test_a_rollback_leaves_nothing(self, log: Log, topic: str) -> None:
        reports = Reports()
        with rolled_back(log.alias):
            log.enlist(drafts(topic, 1), reports)
        log.append(drafts(topic, 2))

        assert numbers(log, topic) == [2]
        assert reports.calls == []

    def test_a_savepoint_that_rolls_back_takes_only_its_own_events_along(self, log: Log, topic: str) -> None:
        kept, dropped = Reports(), Reports()
        with transaction.atomic(using=log.alias):
            log.enlist(drafts(topic, 1), kept)
            with rolled_back(log.alias):
                log.enlist(drafts(topic, 2), dropped)
                with transaction.atomic(using=log.alias):
                    log.enlist(drafts(topic, 3), dropped)
            with transaction.atomic(using=log.alias):
                log.enlist(drafts(topic, 4), kept)

        assert numbers(log, topic) == [1, 4]
        assert kept.offsets == [1, 2]
        assert dropped.calls == []

    def test_events_of_a_surviving_savepoint_are_numbered_when_the_first_one_rolled_back(
        self, log: Log, topic: str
    ) -> None:
        reports = Reports()
        with transaction.atomic(using=log.alias):
            with rolled_back(log.alias):
                log.enlist(drafts(topic, 1), reports)
            log.enlist(drafts(topic, 2), reports)

        assert numbers(log, topic) == [2]
        assert reports.offsets == [1]

    def test_the_application_s_own_callbacks_do_not_get_in_the_way(self, log: Log, topic: str) -> None:
        order: list[str] = []
        with transaction.atomic(using=log.alias):
            transaction.on_commit(lambda: order.append("application"), using=log.alias)
            log.enlist(drafts(topic, 1), lambda _: order.append("log"))

        assert order == ["application", "log"]
        assert numbers(log, topic) == [1]

    def test_a_rollback_does_not_spoil_the_next_transaction(self, log: Log, topic: str) -> None:
        reports = Reports()
        for number in range(4):
            with (rolled_back if number % 2 == 0 else transaction.atomic)(log.alias):
                log.enlist(drafts(f"{topic}/{number}", number), reports)

        assert [batch.topic for batches in reports.calls for batch in batches] == [f"{topic}/1", f"{topic}/3"]

    def test_an_error_of_who_is_told_is_logged_and_not_raised(
        self, log: Log, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with transaction.atomic(using=log.alias):
            log.enlist(drafts(topic, 1), lambda _: 1 // 0)

        assert numbers(log, topic) == [1]
        assert "ZeroDivisionError" in caplog.text

    def test_threads_that_publish_in_transactions_each_keep_their_order(self, log: Log, topic: str) -> None:
        reports = Reports()

        def publish(writer: int) -> None:
            for n in range(15):
                with transaction.atomic(using=log.alias):
                    log.enlist(drafts(topic, writer * 100 + 2 * n, writer * 100 + 2 * n + 1), reports)

        in_threads([lambda writer=writer: publish(writer) for writer in range(4)])

        found = numbers(log, topic)
        for writer in range(4):
            assert [n for n in found if n // 100 == writer] == [writer * 100 + n for n in range(30)]
        assert len(found) == 120
        assert sorted(reports.offsets) == list(range(1, 121))


class TrimContract:
    def test_all_but_the_newest_can_be_trimmed(self, log: Log, topic: str) -> None:
        (batch,) = log.append(drafts(topic, *range(1, 11)))

        assert log.trim(topic, count=4) == 6

        head = log.heads([topic])[topic]
        assert (head.offset, head.floor) == (10, 6)
        assert numbers(log, topic) == [7, 8, 9, 10]
        with pytest.raises(Trimmed) as caught:
            log.read(topic, Position(epoch=batch.epoch, offset=5), 10)
        assert caught.value.head == head

    def test_what_is_older_than_a_time_can_be_trimmed(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2))
        between = timezone.now()
        log.append(drafts(topic, 3))

        assert log.trim(topic, before=between - timedelta(seconds=60)) == 0
        assert log.trim(topic, before=between) == 2
        assert numbers(log, topic) == [3]

    def test_either_reason_is_enough(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2, 3))

        assert log.trim(topic, before=timezone.now() - timedelta(days=1), count=2) == 1
        assert log.trim(topic, before=timezone.now() + timedelta(days=1), count=2) == 2

    def test_offsets_are_not_given_out_again_when_nothing_is_left(self, log: Log, topic: str) -> None:
        (batch,) = log.append(drafts(topic, 1, 2, 3))

        assert log.trim(topic, count=0) == 3

        at_head = Position(epoch=batch.epoch, offset=3)
        assert log.heads([topic])[topic].floor == 3
        assert log.read(topic, at_head, 10) == []
        with pytest.raises(Trimmed):
            log.read(topic, Position(epoch=batch.epoch, offset=2), 10)
        assert log.append(drafts(topic, 4))[0].entries[0].offset == 4
        assert [entry.offset for entry in log.read(topic, at_head, 10)] == [4]

    def test_a_large_topic_is_trimmed_in_pieces(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, *range(2500)))

        assert log.trim(topic, count=100) == 2400
        assert numbers(log, topic) == list(range(2400, 2500))

    def test_an_unknown_topic_has_nothing_to_trim(self, log: Log, topic: str) -> None:
        assert log.trim(topic, count=0) == 0
        assert log.trim(topic) == 0


class LogContract(AppendContract, ReadContract, TransactionContract, TrimContract, ClaimContract):
    """All of it."""
