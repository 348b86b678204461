"""Taking away what was granted: evictions, disconnections, and asking the rules again. On every server, at once.

All of it may be done anywhere: in a view, a task, a command, an action. Inside ``atomic()`` it takes effect if that
commits. Each of these raises :class:`~holdfast.log.base.LogError` when the log does not answer, and then nothing was done.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from holdfast.hub import runtime
from holdfast.hub.control import Disconnect, Evict, Order, Recheck
from holdfast.protocol.construction import shortened

from .encoding import text_of
from .event_loop import forbid_event_loop
from .owner import canonical_key, owner_of_client, owner_of_key, written

R = TypeVar("R")


def disconnect(user: Any, *, reason: str | None = None) -> None:
    """Close all connections of a user, on every server.

    ``user`` is a user, a primary key, or a caller. The clients are told ``disconnected``, with ``reason`` if one is given,
    and do not come back by themselves. They may come back when their page is loaded anew: whoever is to stay out needs
    his right taken away as well (``is_active``, a rule, a session).
    """
    _give(_disconnection("disconnect", user, reason), instead="adisconnect(…)")


async def adisconnect(user: Any, *, reason: str | None = None) -> None:
    """As :func:`disconnect`, for ``async`` code."""
    await _agive(_disconnection("adisconnect", user, reason))


def recheck(user: Any) -> None:
    """Look again at the connections of a user, on every server: is the session still good, the user still active? If not
    they are closed; if so each topic's ``may_join`` is asked again. For changes that no signal tells of."""
    _give(Recheck(owners=(owner_of("recheck", user),)), instead="arecheck(…)")


async def arecheck(user: Any) -> None:
    """As :func:`recheck`, for ``async`` code."""
    await _agive(Recheck(owners=(owner_of("arecheck", user),)))


class Rechecking(Generic[R]):
    """A method of a topic's class, about all its topics, and of each topic, about that one."""

    def __init__(self, ask: Callable[[Order], R], doc: str) -> None:
        self._ask = ask
        self.__doc__ = doc

    def __get__(self, topic: Any, owner: Any) -> Callable[[], R]:
        if topic is not None:
            ask = partial(self._ask, Recheck(topic=topic.name))
        elif not hasattr(owner, "declared"):
            raise TypeError(f"{owner.__name__} has no route, so nobody has joined it; ask its subclasses")
        else:
            ask = partial(self._ask, Recheck(route=owner.declared.route.text))
        # asgiref and inspect see through a partial to the coroutine function in it.
        return ask


def _recheck(order: Order) -> None:
    _give(order, instead="arecheck()")


async def _arecheck(order: Order) -> None:
    await _agive(order)


def of_topic(method: str, topic: object) -> None:
    """Raise ``TypeError`` where a method was called on the class, so that its first argument is taken for the topic."""
    if not isinstance(topic, Access):
        raise TypeError(
            f"{method}: expected a topic, got {shortened(topic)}; it is a method of one topic, not of the class: write "
            f'Room(room="lobby").{method}(…)'
        )


class Access:
    """What a topic can do about those who are in it."""

    @property
    def name(self) -> str:
        """The canonical name."""
        raise NotImplementedError

    def evict(self, *users: Any, reason: str | None = None) -> None:
        """End the subscriptions of some users to this topic, on every server; nothing of it reaches them any more.

        Each is a user, a primary key, or a caller (for somebody anonymous). Their clients are told ``evicted``, with
        ``reason`` if one is given; calls of this topic that still wait are refused. Whether they may join again is what
        ``may_join`` says: take the right away first.
        """
        of_topic("evict", self)
        _give(self._eviction("evict", users, reason), instead="aevict(…)")

    async def aevict(self, *users: Any, reason: str | None = None) -> None:
        """As :meth:`evict`, for ``async`` code. On return this process has done it."""
        of_topic("aevict", self)
        await _agive(self._eviction("aevict", users, reason))

    def evict_all(self, *, reason: str | None = None) -> None:
        """As :meth:`evict`, for everybody who has joined."""
        _give(self._eviction_of_all("evict_all", reason), instead="aevict_all(…)")

    async def aevict_all(self, *, reason: str | None = None) -> None:
        """As :meth:`evict_all`, for ``async`` code."""
        await _agive(self._eviction_of_all("aevict_all", reason))

    recheck = Rechecking(
        _recheck,
        """Ask ``may_join`` again about everybody who has joined, on every server, and end the subscriptions of those whom
        it does not admit any more (they are told ``forbidden``). ``Room.recheck()``: in all rooms;
        ``Room(room="lobby").recheck()``: in one.""",
    )
    arecheck = Rechecking(_arecheck, "As :meth:`recheck`, for ``async`` code.")

    def _eviction(self, method: str, users: tuple[Any, ...], reason: str | None) -> Evict:
        where = f"{type(self).__name__}.{method}"
        if not users:
            raise TypeError(
                f"{where}: no user is given; write {where}(user), or {where}_all() for all who have joined"
            )
        owners = tuple(owner_of(where, user) for user in users)
        return Evict(topic=self.name, owners=owners, reason=_reason(where, reason))

    def _eviction_of_all(self, method: str, reason: str | None) -> Evict:
        return Evict(topic=self.name, reason=_reason(f"{type(self).__name__}.{method}", reason))


def _disconnection(method: str, user: Any, reason: str | None) -> Disconnect:
    return Disconnect(owner=owner_of(method, user), reason=_reason(method, reason))


def _reason(method: str, reason: Any) -> str | None:
    return None if reason is None else text_of(method, "reason", reason)


def owner_of(method: str, user: Any) -> str:
    """How orders call a user: given as one, by the primary key, or as a caller."""
    if not hasattr(user, "pk") and hasattr(user, "client"):  # a caller
        pk = getattr(user.user, "pk", None)
        return owner_of_client(user.client) if pk is None else owner_of_key(pk)
    pk = user.pk if hasattr(user, "pk") else canonical_key(user)
    if not written(pk):
        several = (
            f"; write {method}(*users) for several"
            if isinstance(user, Iterable) and "evict" in method
            else ""
        )
        raise TypeError(
            f"{method}: {shortened(user)} does not stand for one user; expected a user that has been saved, a primary key, or the "
            f"caller of an action{several}"
        )
    return owner_of_key(pk)


def _give(order: Order, *, instead: str) -> None:
    parts = runtime.current()
    if parts.log.blocking:
        forbid_event_loop(
            f"this waits for the log and cannot be used on an event loop; write: await {instead}"
        )
    parts.control.give(order)


async def _agive(order: Order) -> None:
    await runtime.current().control.agive(order)
