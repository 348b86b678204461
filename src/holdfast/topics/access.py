"""Revocation: evict users from topics, disconnect them, and re-check the rules, on every server at once.

These functions may be called anywhere: in a view, a task, a command, an action. Inside ``atomic()`` they take effect when the
transaction commits. Each raises :class:`~holdfast.log.base.LogError` when the log does not answer; then nothing was revoked.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from holdfast import runtime
from holdfast.control.commands import ControlCommand, Disconnect, Evict, Recheck
from holdfast.protocol.construction import shortened

from .encoding import text_of
from .event_loop import forbid_event_loop
from .owner import canonical_key, owner_of_client, owner_of_key, written

R = TypeVar("R")


def disconnect(user: Any, *, reason: str | None = None) -> None:
    """Close all connections of a user, on every server.

    ``user`` is a user, a primary key, or a caller. The clients receive ``disconnected``, with ``reason`` if one is given,
    and do not reconnect by themselves. They can connect again when their page is reloaded: to keep a user out, take the
    user's right away as well (``is_active``, a rule, a session).
    """
    _give(_disconnection("disconnect", user, reason), instead="adisconnect(…)")


async def adisconnect(user: Any, *, reason: str | None = None) -> None:
    """As :func:`disconnect`, for ``async`` code."""
    await _agive(_disconnection("adisconnect", user, reason))


def recheck(user: Any) -> None:
    """Re-check the connections of a user, on every server.

    A connection is closed if its session has ended or its user is not active any more. Otherwise ``may_join`` of each topic
    that it has joined is asked again. Use it after changes that send no signal.
    """
    _give(Recheck(owners=(owner_of("recheck", user),)), instead="arecheck(…)")


async def arecheck(user: Any) -> None:
    """As :func:`recheck`, for ``async`` code."""
    await _agive(Recheck(owners=(owner_of("arecheck", user),)))


class Rechecking(Generic[R]):
    """Descriptor of a method that re-checks one topic, or, when called on a topic's class, all topics of that class."""

    def __init__(self, ask: Callable[[ControlCommand], R], doc: str) -> None:
        self._ask = ask
        self.__doc__ = doc

    def __get__(self, topic: Any, owner: Any) -> Callable[[], R]:
        if topic is not None:
            ask = partial(self._ask, Recheck(topic=topic.name))
        elif not hasattr(owner, "declared"):
            raise TypeError(f"{owner.__name__} has no route, so it has no subscribers; ask its subclasses")
        else:
            ask = partial(self._ask, Recheck(route=owner.declared.route.text))
        # asgiref and inspect see through a partial to the coroutine function in it.
        return ask


def _recheck(order: ControlCommand) -> None:
    _give(order, instead="arecheck()")


async def _arecheck(order: ControlCommand) -> None:
    await _agive(order)


def of_topic(method: str, topic: object) -> None:
    """Raise ``TypeError`` when a method was called on the class, with its first argument in the place of the topic."""
    if not isinstance(topic, Access):
        raise TypeError(
            f"{method}: expected a topic, got {shortened(topic)}; it is a method of one topic, not of the class: write "
            f'Room(room="lobby").{method}(…)'
        )


class Access:
    """The methods by which a topic revokes subscriptions."""

    @property
    def name(self) -> str:
        """The canonical name."""
        raise NotImplementedError

    def evict(self, *users: Any, reason: str | None = None) -> None:
        """End the subscriptions of some users to this topic, on every server. They receive nothing more of it.

        Each is a user, a primary key, or a caller (for an anonymous client). Their clients receive ``evicted``, with
        ``reason`` if one is given. Calls to this topic that still wait are refused. ``may_join`` decides whether they may
        join again: take the right away first.
        """
        of_topic("evict", self)
        _give(self._eviction("evict", users, reason), instead="aevict(…)")

    async def aevict(self, *users: Any, reason: str | None = None) -> None:
        """As :meth:`evict`, for ``async`` code. On return this process has ended its own subscriptions."""
        of_topic("aevict", self)
        await _agive(self._eviction("aevict", users, reason))

    def evict_all(self, *, reason: str | None = None) -> None:
        """As :meth:`evict`, for all subscribers."""
        _give(self._eviction_of_all("evict_all", reason), instead="aevict_all(…)")

    async def aevict_all(self, *, reason: str | None = None) -> None:
        """As :meth:`evict_all`, for ``async`` code."""
        await _agive(self._eviction_of_all("aevict_all", reason))

    recheck = Rechecking(
        _recheck,
        """Ask ``may_join`` again about all subscribers, on every server, and end the subscriptions that it no longer admits;
        their clients receive ``forbidden``. ``Room.recheck()`` does so for all rooms, ``Room(room="lobby").recheck()`` for
        one.""",
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
    """Return the owner that names a user in commands. The user is given as a user, a primary key, or a caller."""
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


def _give(order: ControlCommand, *, instead: str) -> None:
    parts = runtime.current()
    if parts.log.blocking:
        forbid_event_loop(
            f"this waits for the log and cannot be used on an event loop; write: await {instead}"
        )
    parts.control.issue(order)


async def _agive(order: ControlCommand) -> None:
    await runtime.current().control.aissue(order)
