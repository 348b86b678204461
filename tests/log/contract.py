"""What every log promises, as tests: a class of tests for a log inherits them and has a fixture ``log``."""

import threading
import tracemalloc
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from holdfast.log.base import Batch, Diverged, Draft, Log, Trimmed
from holdfast.protocol.positions import Position
from tests.log.events import drafts, numbers
from tests.log.going_back import go_back
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

    def test_append_returns_the_entries_that_are_read(self, log: Log, topic: str) -> None:
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
        assert head.epoch
        assert log.heads([topic])[topic] == head
        assert log.read(topic, head.position, 10) == []

    def test_a_topic_that_never_had_an_entry_leaves_nothing_behind(self, log: Log, topic: str) -> None:
        head = log.heads([topic])[topic]
        log.read(topic, head.position, 10)
        log.consistent_read(topic, lambda: None)
        with pytest.raises(Trimmed):
            log.read(topic, Position(epoch="other", offset=0), 10)
        with pytest.raises(Diverged):
            log.read(topic, Position(epoch=head.epoch, offset=1), 10)
        log.rotate_epoch(topic, head.position)
        log.rotate_epoch(topic, Position(epoch="other", offset=1))
        log.trim(topic, count=0)

        assert topic not in log.topics()
        assert log.heads([topic])[topic] == head

    def test_the_first_entry_follows_the_position_that_the_topic_had_without_it(
        self, log: Log, topic: str
    ) -> None:
        alone, together, staged = f"{topic}/alone", f"{topic}/together", f"{topic}/staged"
        before = log.heads([alone, together, staged, topic])
        position, _ = log.consistent_read(topic, lambda: None)
        log.append(drafts(alone, 1))
        log.append([*drafts(together, 2), *drafts(topic, 3)])
        with transaction.atomic(using=log.alias):
            log.stage(drafts(staged, 4), lambda _: None)

        assert position == before[topic].position
        for name, number in ((alone, b"1"), (together, b"2"), (topic, b"3"), (staged, b"4")):
            assert [entry.payload for entry in log.read(name, before[name].position, 10)] == [number]
            assert log.heads([name])[name].epoch == before[name].epoch
            assert name in log.topics()

    def test_each_topic_has_an_epoch_of_its_own(self, log: Log, topic: str) -> None:
        heads = log.heads([f"{topic}/{n}" for n in range(20)])

        assert len({head.epoch for head in heads.values()}) == 20

    def test_first_epochs_can_be_renewed(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1))
        before = log.heads([topic, f"{topic}/new"])
        log.renew_first_epochs()
        after = log.heads([topic, f"{topic}/new"])

        assert after[topic] == before[topic]
        assert after[f"{topic}/new"].epoch != before[f"{topic}/new"].epoch
        assert log.append(drafts(f"{topic}/new", 1))[0].epoch == after[f"{topic}/new"].epoch

    def test_a_topic_whose_entries_are_all_missing_from_a_backup_gets_a_new_epoch(
        self, log: Log, topic: str
    ) -> None:
        seen = Position(epoch=log.heads([topic])[topic].epoch, offset=3, stamp=7)

        renewed = log.rotate_epoch(topic, seen)

        assert renewed.epoch != seen.epoch
        assert renewed == log.heads([topic])[topic]
        assert log.append(drafts(topic, 1))[0].epoch == renewed.epoch

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

    def test_a_page_ends_with_the_entry_that_reaches_its_size(self, log: Log, topic: str) -> None:
        payloads = [b'"%s"' % (b"x" * (length - 2)) for length in (10, 20, 30, 5, 100, 5)]
        log.append([Draft(topic=topic, name="said", payload=payload) for payload in payloads])
        epoch = log.heads([topic])[topic].epoch

        def page(after: int, size: int, limit: int = 10) -> list[int]:
            return [e.offset for e in log.read(topic, Position(epoch=epoch, offset=after), limit, size)]

        assert page(0, 30) == [1, 2]
        assert page(0, 31) == [1, 2, 3]
        assert page(0, 1) == [1]
        assert page(3, 6) == [4, 5]
        assert page(4, 10_000) == [5, 6]
        assert page(0, 10_000, limit=3) == [1, 2, 3]
        assert page(6, 1) == []

    def test_a_size_counts_bytes_and_not_characters(self, log: Log, topic: str) -> None:
        log.append([Draft(topic=topic, name="said", payload='"ääää"'.encode())] * 3)
        epoch = log.heads([topic])[topic].epoch

        assert len(log.read(topic, Position(epoch=epoch, offset=0), 10, 10)) == 1
        assert len(log.read(topic, Position(epoch=epoch, offset=0), 10, 11)) == 2

    def test_a_page_of_few_bytes_takes_little_memory(self, log: Log, topic: str) -> None:
        large = Draft(topic=topic, name="said", payload=b'"%s"' % (b"x" * 200_000))
        for _ in range(5):
            log.append([large] * 20)
        epoch = log.heads([topic])[topic].epoch

        tracemalloc.start()
        try:
            assert len(log.read(topic, Position(epoch=epoch, offset=0), 100, 250_000)) == 2
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 3_000_000, f"{peak:,} bytes for a page of 400,000"

    def test_a_position_of_another_epoch_cannot_be_read_from(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2))

        with pytest.raises(Trimmed) as caught:
            log.read(topic, Position(epoch="other", offset=1), 10)
        assert caught.value.head == log.heads([topic])[topic]

    def test_a_position_beyond_the_head_cannot_be_read_from(self, log: Log, topic: str) -> None:
        (batch,) = log.append(drafts(topic, 1, 2))

        with pytest.raises(Trimmed):
            log.read(topic, Position(epoch=batch.epoch, offset=3), 10)

    def test_an_unknown_topic_cannot_be_read_from(self, log: Log, topic: str) -> None:
        with pytest.raises(Trimmed) as caught:
            log.read(topic, Position(epoch="k3", offset=5), 10)
        assert caught.value.head.offset == 0

    def test_a_consistent_read_returns_a_value_with_its_position(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2))

        position, value = log.consistent_read(topic, lambda: "state")

        assert value == "state"
        assert position == log.heads([topic])[topic].position

    def test_a_consistent_read_works_on_an_unknown_topic(self, log: Log, topic: str) -> None:
        position, _ = log.consistent_read(topic, lambda: None)

        assert position.offset == 0

    def test_an_error_in_the_function_of_a_consistent_read_is_raised(self, log: Log, topic: str) -> None:
        with pytest.raises(ZeroDivisionError):
            log.consistent_read(topic, lambda: 1 // 0)


class TransactionContract:
    """``log.alias`` names the database whose transactions it takes part in."""

    def test_it_knows_whether_it_is_in_a_transaction(self, log: Log) -> None:
        assert not log.in_transaction()
        with transaction.atomic(using=log.alias):
            assert log.in_transaction()

    def test_events_become_real_when_their_transaction_commits(self, log: Log, topic: str) -> None:
        reports = Reports()
        with transaction.atomic(using=log.alias):
            log.stage(drafts(topic, 1, 2), reports)
            log.stage(drafts(topic, 3), reports)
            assert log.heads([topic])[topic].offset == 0
            assert not reports.calls

        assert numbers(log, topic) == [1, 2, 3]
        assert reports.offsets == [1, 2, 3]

    def test_the_commit_callback_runs_outside_the_transaction_and_in_its_thread(
        self, log: Log, topic: str
    ) -> None:
        seen = []
        with transaction.atomic(using=log.alias):
            log.stage(
                drafts(topic, 1), lambda _: seen.append((log.in_transaction(), threading.current_thread()))
            )

        assert seen == [(False, threading.current_thread())]

    def test_a_rollback_leaves_nothing(self, log: Log, topic: str) -> None:
        reports = Reports()
        with rolled_back(log.alias):
            log.stage(drafts(topic, 1), reports)
        log.append(drafts(topic, 2))

        assert numbers(log, topic) == [2]
        assert reports.calls == []

    def test_a_savepoint_that_rolls_back_takes_only_its_own_events_along(self, log: Log, topic: str) -> None:
        kept, dropped = Reports(), Reports()
        with transaction.atomic(using=log.alias):
            log.stage(drafts(topic, 1), kept)
            with rolled_back(log.alias):
                log.stage(drafts(topic, 2), dropped)
                with transaction.atomic(using=log.alias):
                    log.stage(drafts(topic, 3), dropped)
            with transaction.atomic(using=log.alias):
                log.stage(drafts(topic, 4), kept)

        assert numbers(log, topic) == [1, 4]
        assert kept.offsets == [1, 2]
        assert dropped.calls == []

    def test_events_of_a_surviving_savepoint_are_numbered_when_the_first_one_rolled_back(
        self, log: Log, topic: str
    ) -> None:
        reports = Reports()
        with transaction.atomic(using=log.alias):
            with rolled_back(log.alias):
                log.stage(drafts(topic, 1), reports)
            log.stage(drafts(topic, 2), reports)

        assert numbers(log, topic) == [2]
        assert reports.offsets == [1]

    def test_the_application_s_own_callbacks_do_not_get_in_the_way(self, log: Log, topic: str) -> None:
        order: list[str] = []
        with transaction.atomic(using=log.alias):
            transaction.on_commit(lambda: order.append("application"), using=log.alias)
            log.stage(drafts(topic, 1), lambda _: order.append("log"))

        assert order == ["application", "log"]
        assert numbers(log, topic) == [1]

    def test_a_callback_that_publishes_in_a_transaction_of_its_own_does_not_get_in_the_way(
        self, log: Log, topic: str
    ) -> None:
        reports = Reports()

        def publish_too() -> None:
            with transaction.atomic(using=log.alias):
                log.stage(drafts(f"{topic}/too", 2), reports)

        with transaction.atomic(using=log.alias):
            transaction.on_commit(publish_too, using=log.alias)
            log.stage(drafts(topic, 1), reports)

        assert (numbers(log, topic), numbers(log, f"{topic}/too")) == ([1], [2])
        assert reports.offsets == [1, 1]

    def test_a_rollback_does_not_spoil_the_next_transaction(self, log: Log, topic: str) -> None:
        reports = Reports()
        for number in range(4):
            with (rolled_back if number % 2 == 0 else transaction.atomic)(log.alias):
                log.stage(drafts(f"{topic}/{number}", number), reports)

        assert [batch.topic for batches in reports.calls for batch in batches] == [f"{topic}/1", f"{topic}/3"]

    def test_an_error_of_the_callback_is_logged_and_not_raised(
        self, log: Log, topic: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with transaction.atomic(using=log.alias):
            log.stage(drafts(topic, 1), lambda _: 1 // 0)

        assert numbers(log, topic) == [1]
        assert "ZeroDivisionError" in caplog.text

    def test_threads_that_publish_in_transactions_each_keep_their_order(self, log: Log, topic: str) -> None:
        reports = Reports()

        def publish(writer: int) -> None:
            for n in range(15):
                with transaction.atomic(using=log.alias):
                    log.stage(drafts(topic, writer * 100 + 2 * n, writer * 100 + 2 * n + 1), reports)

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

    def test_a_dry_run_says_what_would_go_and_removes_nothing(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2, 3, 4))
        log.trim(topic, count=3)
        later, earlier = timezone.now() + timedelta(days=1), timezone.now() - timedelta(days=1)

        assert log.trim(topic, count=2, dry_run=True) == 1
        assert log.trim(topic, before=later, dry_run=True) == 3
        assert log.trim(topic, before=earlier, dry_run=True) == 0
        assert log.trim(topic, before=earlier, count=1, dry_run=True) == 2
        assert log.trim(topic, dry_run=True) == 0
        assert log.trim(f"{topic}/unknown", count=0, dry_run=True) == 0
        assert numbers(log, topic) == [2, 3, 4]

    def test_an_unknown_topic_has_nothing_to_trim(self, log: Log, topic: str) -> None:
        assert log.trim(topic, count=0) == 0
        assert log.trim(topic) == 0


class StampContract:
    """A log that went back in time, and gives out offsets a second time."""

    def test_every_entry_has_a_stamp_and_names_the_one_that_it_follows(self, log: Log, topic: str) -> None:
        (first,) = log.append(drafts(topic, 1, 2))
        (second,) = log.append(drafts(topic, 3))

        assert first.before == 0
        assert second.before == first.entries[-1].stamp
        assert all(entry.stamp for entry in (*first.entries, *second.entries))
        assert log.heads([topic])[topic].stamp == second.entries[0].stamp
        found = log.read(topic, Position(epoch=first.epoch, offset=0), 10)
        assert found == [*first.entries, *second.entries]

    def test_entries_of_a_transaction_name_the_one_that_they_follow(self, log: Log, topic: str) -> None:
        reports = Reports()
        (first,) = log.append(drafts(topic, 1))
        with transaction.atomic(using=log.alias):
            log.stage(drafts(topic, 2, 3), reports)

        ((batch,),) = reports.calls
        assert batch.before == first.entries[0].stamp
        assert log.heads([topic])[topic].stamp == batch.entries[-1].stamp != 0

    def test_the_position_of_a_state_has_the_stamp_of_the_head(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1))

        position, _ = log.consistent_read(topic, lambda: None)

        assert position == log.heads([topic])[topic].position

    def test_entries_after_another_can_be_read_with_its_stamp_or_without(self, log: Log, topic: str) -> None:
        (batch,) = log.append(drafts(topic, 1, 2, 3))
        stamp = batch.entries[1].stamp

        for known in (stamp, 0):
            after = Position(epoch=batch.epoch, offset=2, stamp=known)
            assert [entry.offset for entry in log.read(topic, after, 10)] == [3]

    def test_a_position_before_the_log_went_back_is_beyond_its_head(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2, 3))
        seen = log.heads([topic])[topic].position
        go_back(log, topic, 1)

        with pytest.raises(Diverged):
            log.read(topic, seen, 10)

    def test_an_offset_given_out_again_does_not_pass_for_the_old_one(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2, 3))
        seen = log.heads([topic])[topic].position
        go_back(log, topic, 1)
        log.append(drafts(topic, 20, 30, 40))

        with pytest.raises(Diverged) as caught:
            log.read(topic, seen, 10)
        assert caught.value.head == log.heads([topic])[topic]

    def test_a_position_from_before_the_log_went_back_can_be_resumed_from(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1))
        seen = log.heads([topic])[topic].position
        log.append(drafts(topic, 2))
        go_back(log, topic, 1)
        log.append(drafts(topic, 20))

        assert [entry.payload for entry in log.read(topic, seen, 10)] == [b"20"]

    def test_the_stamp_of_what_was_trimmed_last_is_kept(self, log: Log, topic: str) -> None:
        (batch,) = log.append(drafts(topic, 1))
        seen = log.heads([topic])[topic].position
        log.append(drafts(topic, 2, 3))
        log.trim(topic, count=2)

        assert [entry.offset for entry in log.read(topic, seen, 10)] == [2, 3]
        with pytest.raises(Diverged):
            log.read(topic, Position(epoch=batch.epoch, offset=1, stamp=seen.stamp + 1), 10)
        log.trim(topic, count=0)
        head = log.heads([topic])[topic]
        assert head.stamp
        assert log.append(drafts(topic, 4))[0].before == head.stamp

    def test_a_log_without_the_position_gets_a_new_epoch_and_keeps_its_entries(
        self, log: Log, topic: str
    ) -> None:
        log.append(drafts(topic, 1, 2, 3))
        seen = log.heads([topic])[topic].position
        go_back(log, topic, 2)

        renewed = log.rotate_epoch(topic, seen)

        assert renewed.epoch != seen.epoch
        assert renewed == log.heads([topic])[topic]
        assert numbers(log, topic) == [1, 2]
        with pytest.raises(Trimmed):
            log.read(topic, seen, 10)
        assert log.append(drafts(topic, 4))[0].epoch == renewed.epoch

    def test_a_log_that_grew_past_the_position_gets_a_new_epoch(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2, 3))
        seen = log.heads([topic])[topic].position
        go_back(log, topic, 1)
        log.append(drafts(topic, 20, 30, 40))

        assert log.rotate_epoch(topic, seen).epoch != seen.epoch

    def test_of_many_servers_that_notice_one_changes_the_epoch(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2, 3))
        seen = log.heads([topic])[topic].position
        go_back(log, topic, 2)

        found = in_threads([lambda: log.rotate_epoch(topic, seen).epoch] * 6)

        assert len(set(found)) == 1
        assert log.heads([topic])[topic].epoch == found[0] != seen.epoch
        assert log.rotate_epoch(topic, seen).epoch == found[0]

    def test_a_log_that_has_the_position_keeps_its_epoch(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2))
        seen = log.heads([topic])[topic].position
        log.append(drafts(topic, 3))
        log.trim(topic, count=1)

        assert log.rotate_epoch(topic, seen).epoch == seen.epoch
        assert log.rotate_epoch(topic, Position(epoch=seen.epoch, offset=1, stamp=99)).epoch == seen.epoch
        assert log.rotate_epoch(topic, Position(epoch="other", offset=99)).epoch == seen.epoch

    def test_an_operator_renews_an_epoch_without_a_reason(self, log: Log, topic: str) -> None:
        log.append(drafts(topic, 1, 2))
        before = log.heads([topic])[topic]

        after = log.rotate_epoch(topic)

        assert (after.offset, after.floor) == (before.offset, before.floor)
        assert after.epoch != before.epoch
        assert numbers(log, topic) == [1, 2]


class LogContract(AppendContract, ReadContract, TransactionContract, TrimContract, StampContract):
    """All of it."""
