"""The reading function of ``consistent_read``: it has to return what it has read, not what would be read later."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from django.db.models.query import QuerySet, RawQuerySet

from holdfast.protocol.construction import shortened

T = TypeVar("T")


def at_once(method: str, take: Callable[[], T]) -> Callable[[], T]:
    """Return ``take`` with a check: raises ``TypeError`` if it returns a queryset that is unread, an iterator or an awaitable, also
    as a value of a dict, a tuple or a list. ``method`` stands in the message."""
    given: object = take
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise TypeError(
            f"{method}: expected a function that reads, got {shortened(given)}; write "
            f"{method.rpartition('.')[2]}(lambda: list(Message.objects.all())), which is a def, not an async def"
        )

    def taken() -> T:
        value = take()
        if lazy := next(filter(None, map(_lazy, (value, *_parts_of(value)))), ""):
            raise TypeError(
                f"{method}: the function returned {lazy}, which would be read after the position; write list(…) around it, "
                "so that it is read in the function"
            )
        return value

    return taken


def _parts_of(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (tuple, list)) else ()


def _lazy(value: Any) -> str:
    """The words for a value that has not been read; an empty text for any other."""
    if isinstance(value, (QuerySet, RawQuerySet)):
        model = getattr(value.model, "__name__", "a model")
        # That of Django, which has no public name for it.
        unread = getattr(value, "_result_cache", None) is None
        return f"a queryset of {model} that has not been read" if unread else ""
    if inspect.isawaitable(value) or isinstance(value, Iterator):
        return f"{type(value).__name__} {shortened(value)}"
    return ""
