"""``holdfast.publish``: events for many topics at once."""

import pytest
from django.core.exceptions import SynchronousOnlyOperation

import holdfast
from tests.topics.test_topic import Posted, Process, Room, Ticker, Typing
from tests.topics.test_topic import process as process  # a fixture

A, B = Room(room="a"), Room(room="b")


def told(process: Process) -> list[tuple[bool, list[tuple[str, str]]]]:
    return [
        (durable, [(draft.topic, draft.payload.decode()) for draft in drafts])
        for durable, drafts in process.published
        if drafts
    ]


def test_durable_events_are_written_together_and_the_others_sent_after_that(process: Process) -> None:
    holdfast.publish(
        [(A, Typing("ada")), (B, Posted(1)), (Ticker(), Posted(2)), (A, Posted(3)), (B, Posted(4))]
    )

    assert told(process) == [
        (True, [("rooms/b", '{"id":1}'), ("rooms/a", '{"id":3}'), ("rooms/b", '{"id":4}')]),
        (False, [("rooms/a", '{"author":"ada"}'), ("ticker", '{"id":2}')]),
    ]


async def test_apublish_does_the_same(process: Process) -> None:
    await holdfast.apublish((topic, Posted(1)) for topic in (A, B))

    assert told(process) == [(True, [("rooms/a", '{"id":1}'), ("rooms/b", '{"id":1}')])]


def test_an_excluded_client_receives_none_of_the_events(process: Process) -> None:
    holdfast.publish([(A, Posted(1)), (A, Typing("ada"))], exclude="~client-1")

    assert {draft.exclude for _, drafts in process.published for draft in drafts} == {"~client-1"}


def test_nothing_is_sent_when_one_event_is_wrong(process: Process) -> None:
    for wrong in ((B, Posted("1")), (Ticker(), Typing("ada"))):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            holdfast.publish([(A, Posted(1)), wrong])
    for no_pair in (A, Posted(1), (Posted(1), A), ("rooms/a", Posted(1))):
        with pytest.raises(TypeError, match=r"holdfast.publish: expected pairs of a topic and an event, got"):
            holdfast.publish([no_pair])  # type: ignore[list-item]

    assert process.published == []


def test_no_events_are_no_mistake(process: Process) -> None:
    holdfast.publish([])

    assert told(process) == []


async def test_on_an_event_loop_the_error_says_what_to_write_instead(process: Process) -> None:
    with pytest.raises(SynchronousOnlyOperation, match=r"write: await holdfast.apublish\(…\)"):
        holdfast.publish([(A, Posted(1))])
