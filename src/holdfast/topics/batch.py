"""Publishing to many topics at once, such as each user's own."""

from collections.abc import Iterable
from typing import Never

from holdfast import runtime
from holdfast.log.base import Draft
from holdfast.protocol.construction import shortened

from .caller import Caller
from .event import Event
from .topic import Topic


def publish(items: Iterable[tuple[Topic, Event]], *more: Never, exclude: Caller | str | None = None) -> None:
    """Send an event to each of many topics, all or none::

        with transaction.atomic():
            post = Post.objects.create(…)
            holdfast.publish((Inbox(me=user.pk), PostAdded(post.pk)) for user in users)

    ``items`` are pairs of a topic and an event. A topic may occur several times, and its events keep their order. Durable
    events are written together; ephemeral events are sent after that. ``exclude`` is a caller, or the id of a client, that
    does not receive the events. The rest is as for :meth:`Topic.publish`: inside ``atomic()`` the events are sent only if it
    commits, and all of them are checked before any is sent, with the same errors.
    """
    durable, passing = _drafts("publish", items, more, exclude)
    publisher = runtime.current().publisher
    if durable:
        _, first = durable[0]
        first._forbid_event_loop("holdfast.publish(…)", "holdfast.apublish(…)")
        publisher.publish([draft for draft, _ in durable], durable=True)
    publisher.publish([draft for draft, _ in passing], durable=False)


async def apublish(
    items: Iterable[tuple[Topic, Event]], *more: Never, exclude: Caller | str | None = None
) -> None:
    """As :func:`publish`, for ``async`` code."""
    durable, passing = _drafts("apublish", items, more, exclude)
    publisher = runtime.current().publisher
    await publisher.apublish([draft for draft, _ in durable], durable=True)
    await publisher.apublish([draft for draft, _ in passing], durable=False)


Drafts = list[tuple[Draft, Topic]]


def _drafts(
    method: str, items: Iterable[tuple[Topic, Event]], more: tuple[object, ...], exclude: Caller | str | None
) -> tuple[Drafts, Drafts]:
    """Check all events; return the drafts of the durable ones and those of the others."""
    if more or not isinstance(items, Iterable):
        raise _no_pairs(method, ", ".join(map(shortened, (items, *more))))
    durable: Drafts = []
    passing: Drafts = []
    for item in items:
        if not _is_pair(item):
            raise _no_pairs(method, shortened(item))
        topic, event = item
        ((stored, drafts),) = topic._drafts(method, [event], exclude)
        (durable if stored else passing).append((drafts[0], topic))
    return durable, passing


def _no_pairs(method: str, given: str) -> TypeError:
    return TypeError(
        f"holdfast.{method}: expected pairs of a topic and an event, got {given}; write "
        f'holdfast.{method}([(Room(room="lobby"), MessagePosted(…))])'
    )


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Topic)
