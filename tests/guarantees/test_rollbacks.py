"""G2, step by step: an event that rolled back is not in the log, and no other event is lost with it."""

from uuid import uuid4

from django.db import transaction

from holdfast.log.base import Batch
from holdfast.log.database import DatabaseLog
from tests.support.hubs import draft


def test_a_savepoint_that_rolls_back_takes_only_its_own_events_with_it(database: str) -> None:
    """Also when the project's own on_commit stands before it: the rest is numbered at the commit, not by a sweep."""
    log, topic, told = DatabaseLog(database), f"t/{uuid4().hex}", list[Batch]()
    tell = told.extend
    with transaction.atomic(using=database):
        transaction.on_commit(lambda: None, using=database)
        with transaction.atomic(using=database):
            log.stage([draft("gone", topic)], tell)
            transaction.set_rollback(True, using=database)
        log.stage([draft("stays", topic)], tell)
    assert [entry.payload for batch in told for entry in batch.entries] == [b"stays"]


def test_a_transaction_that_rolls_back_leaves_nothing_to_the_next(database: str) -> None:
    log, topic, told = DatabaseLog(database), f"t/{uuid4().hex}", list[Batch]()
    tell = told.extend
    with transaction.atomic(using=database):
        log.stage([draft("gone", topic)], tell)
        transaction.set_rollback(True, using=database)
    with transaction.atomic(using=database):
        log.stage([draft("stays", topic)], tell)
    assert [entry.payload for batch in told for entry in batch.entries] == [b"stays"]
