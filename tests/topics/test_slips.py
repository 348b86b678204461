"""Mistakes in the use of public classes and functions: the error names the class, the value, and what to write."""

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import msgspec
import pytest

import holdfast
from holdfast import Event, Keep, Position, Refuse, Topic
from holdfast.log.memory import MemoryLog
from holdfast.protocol.construction import Explained
from holdfast.testing import AsyncLiveClient, Live, LiveClient
from holdfast.topics.registry import Registry


class OrderMoved(Event):
    id: int
    status: str = "new"


class Told(Event):
    pass


class Inbox(Topic):
    route = "users/<me>/inbox"
    events = [OrderMoved]
    keep = Keep(days=30)


class News(Topic):
    route = "news"


class Someone:
    """A user that is not in the database: enough for what is refused before it is looked at."""

    pk = 7
    is_authenticated = True

    def __repr__(self) -> str:
        return "<User: ada>"


# Untyped, because a type checker finds each of these slips before it is run.
slips: Any = holdfast
topic: Any = Inbox
news: Any = News
told: Any = Told
registry: Any = Registry()
order_moved: Any = OrderMoved
inbox: Any = Inbox(me=7)


@pytest.fixture(autouse=True)
def live() -> Iterator[None]:
    with Live(log=MemoryLog()):
        yield


MADE: list[tuple[Callable[[], Any], str]] = [
    (lambda: slips.Keep(30), "Keep(30): it takes no value without a name; write for example Keep(days=30)"),
    (lambda: slips.Keep(day=30), "Keep(day=30): it has no 'day'; did you mean 'days'?; write for example Keep(days=30)"),
    (lambda: slips.Keep(limit=5), "Keep(limit=5): it has no 'limit' (known: days, hours, count, public); write for example Keep("),
    (lambda: slips.Keep(public="yes"), "Keep(public='yes'): expected True or False"),
    (lambda: slips.Identity(7), "Identity(7): it takes no value without a name; write for example Identity(user=user, claims="),
    (lambda: slips.Presence(100), "Presence(100): it takes no value without a name; write for example Presence(list_limit="),
    (lambda: slips.Presence(anonymous="no"), "Presence(anonymous='no'): expected True or False"),
    (lambda: order_moved(order=1), "OrderMoved(order=1): it has no 'order' (known: id, status); write for example OrderMoved(id=…)"),
    (lambda: order_moved(), "OrderMoved(): it lacks 'id'; write for example OrderMoved(id=…)"),
    (lambda: order_moved(1, "a", 2), "OrderMoved(1, 'a', 2): it takes at most 2 values without a name; write"),
    (lambda: order_moved(1, id=2), "OrderMoved(1, id=2): 'id' is given twice; write"),
    (lambda: order_moved(1, stauts="x"), "OrderMoved(1, stauts='x'): it has no 'stauts'; did you mean 'status'?; write"),
    (lambda: order_moved(order="x" * 500), f"OrderMoved(order='{'x' * 58}…): it has no 'order'"),
    (lambda: told(1), "Told(1): it takes no value without a name; write for example Told()"),
    (lambda: slips.Slow(), "Slow(): it lacks 'kind'; write for example Slow.drop(), Slow.conflate(\"symbol\") or Slow.disconnect()"),
    (lambda: slips.Slow("drop"), "Slow('drop'): a Slow is made by one of its methods; write Slow.drop(), Slow.conflate"),
    (lambda: slips.Slow.drop(1000), "Slow.drop(1000): it takes no value without a name; write for example Slow.drop(buffer_bytes="),
    (lambda: slips.Slow.disconnect(5), "Slow.disconnect(5): it takes no value without a name; write for example Slow.disconnect("),
    (lambda: slips.Slow.conflate(["symbol"]), "Slow.conflate(['symbol']): expected names of fields, such as Slow.conflate(\"symbol\")"),
    (lambda: topic(Someone()), "Inbox(<User: ada>): a topic takes its parameters by name: its route is 'users/<me>/inbox', so write Inbox(me=…)"),
    (lambda: news("today"), "News('today'): its route 'news' has no parameters, so write News()"),
    (lambda: Position.parse("foo"), "Position.parse('foo'): this is no position ("),
    (lambda: Position.parse(5), "Position.parse(5): this is no position (Expected `object`, got `int`); expected one as text, such as \"k3:41.7\""),
    (lambda: Refuse("Room is full"), "Refuse('Room is full'): the reason is a short word"),
    (lambda: slips.action("5/s"), "@action: '5/s' is not a plain method; put @action above a def"),
    (lambda: slips.action(rate=5), "@action(rate=5): 5 is not a rate; write how many per how long, such as '5/s'"),
    (lambda: slips.action(once="yes"), "@action(once='yes'): expected True or False"),
    (lambda: slips.action(timeout="5"), "@action(timeout='5'): expected a number of seconds above zero"),
]  # fmt: skip

USED: list[tuple[Callable[[], Any], str]] = [
    (lambda: inbox.publish(OrderMoved(1), exclude=Someone()), "Inbox.publish: exclude=<User: ada> is neither a caller nor the id of a client; write exclude=caller"),
    (lambda: inbox.publish([OrderMoved(1)]), "Inbox.publish: expected an event, got [OrderMoved(id=1, status='new')]; write Inbox.publish(MessagePosted(…)), or for a list of them Inbox.publish(*events)"),
    (lambda: topic.publish(OrderMoved(1)), "publish: expected a topic, got OrderMoved(id=1, status='new'); it is a method of one topic, not of the class"),
    (lambda: topic.evict(Someone()), "evict: expected a topic, got <User: ada>; it is a method of one topic, not of the class"),
    (lambda: slips.publish(inbox, OrderMoved(1)), "holdfast.publish: expected pairs of a topic and an event, got <Inbox users/7/inbox>, OrderMoved("),
    (lambda: slips.publish(inbox), "holdfast.publish: expected pairs of a topic and an event, got <Inbox users/7/inbox>; write holdfast.publish([("),
    (lambda: slips.publish([inbox]), "holdfast.publish: expected pairs of a topic and an event, got <Inbox users/7/inbox>; write"),
    (lambda: inbox.consistent_read([1]), "Inbox.consistent_read: expected a function that reads, got [1]; write consistent_read(lambda: list("),
    (lambda: inbox.evict([1, 2]), "Inbox.evict: [1, 2] does not stand for one user; expected a user that has been saved, a primary key, or the caller of an action; write Inbox.evict(*users) for several"),
    (lambda: slips.disconnect(None), "disconnect: None does not stand for one user; expected a user"),
    (lambda: slips.flush("5"), "flush(timeout='5'): expected a number of seconds, such as timeout=5"),
    (lambda: LiveClient("ada"), "LiveClient('ada'): this is not a user; give a user, such as User.objects.get(username=…)"),
    (lambda: AsyncLiveClient(7), "LiveClient(7): this is not a user; give a user"),
    (lambda: registry.register("orders.live.Inbox"), "registry.register: 'orders.live.Inbox' is not a topic's class"),
    (lambda: registry.register(inbox), "registry.register: <Inbox users/7/inbox> is not a topic's class"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("slip", "message"), [*MADE, *USED], ids=[message.partition(":")[0] for _, message in [*MADE, *USED]]
)
def test_a_slip_is_named_with_the_way_out(slip: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, msgspec.ValidationError)) as raised:
        slip()
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"duarble": False},
            "event Moved: .*('duarble' is an invalid|unexpected) keyword argument .*durable=False and name=",
        ),
        (
            {"durable": "no"},
            r"event Moved: durable='no' is neither True nor False; .*class Moved\(Event, durable=False\)",
        ),
    ],
)
def test_a_slip_in_the_class_statement_of_an_event_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        types.new_class("Moved", (Event,), options)


def test_every_value_that_a_project_makes_itself_explains_what_it_takes() -> None:
    """`Position`, `Member` and `HandlerInfo` are made by Holdfast only, many of them at a time."""
    public = [getattr(holdfast, name) for name in holdfast.__all__]
    structs = {v for v in public if inspect.isclass(v) and issubclass(v, msgspec.Struct)}
    assert {struct for struct in structs if not isinstance(struct, Explained)} == {
        Position,
        holdfast.Member,
        holdfast.HandlerInfo,
    }


def test_an_error_raised_by_an_event_class_itself_stays_unchanged() -> None:
    class Sized(Event):
        size: int

        def __post_init__(self) -> None:
            raise TypeError("too small")

    with pytest.raises(TypeError, match=r"^too small$"):
        Sized(1)


def test_an_event_with_an_example_of_its_own_shows_it() -> None:
    class Placed(Event):
        __example__: ClassVar[str] = "Placed(order.pk)"

        order: int

    with pytest.raises(TypeError, match=r"write for example Placed\(order\.pk\)$"):
        Placed()  # type: ignore[call-arg]
    assert Placed(1).encode() == b'{"order":1}'
