"""Rules: the methods ``may_join`` and ``may_call``, which answer yes or no."""

import inspect
import logging
import time
import types
import typing
from collections.abc import Awaitable, Callable
from typing import Any

from holdfast.protocol.construction import shortened

from .action import annotations_of

logger = logging.getLogger("holdfast.topics")

REPEATED_SECONDS = 60.0
"""Seconds until the log names the same rule and the same kind of answer again. A client can ask in a loop."""

_YES = (bool, object, Any, typing.Never, typing.NoReturn)
_logged: dict[tuple[type, str, type], float] = {}


def check_rule(topic: type, name: str, method: Callable[..., Any]) -> None:
    """Raise ``TypeError`` for a rule whose answer can never be ``True``: one that yields, or whose annotation says so."""
    label = f"{topic.__name__}.{name}"
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise TypeError(f"{label}: a rule answers once and cannot yield; return True or False")
    try:
        hint = annotations_of(label, topic, method, {"return"}).get("return", Any)
    except TypeError:
        return  # a name that only type checkers know
    if _may_be_true(hint):
        return
    awaitable = _is_class(hint, Awaitable)
    way_out = f"write async def {name}(…) -> bool and await it there" if awaitable else "return a bool"
    raise TypeError(
        f"{label}: its annotation says that it returns {_text(hint)}, and only True lets a client in; {way_out}"
    )


def decided(topic: object, name: str, answer: object) -> bool:
    """Return the decision that a rule's answer stands for. Only ``True`` is a yes.

    Anything but a ``bool`` is a mistake in the rule: an object, a queryset and a coroutine that is never awaited would all
    count as true. The log names the rule, and the answer is no.
    """
    if answer is True or answer is False:
        return answer
    key, now = (type(topic), name, type(answer)), time.monotonic()
    if now - _logged.get(key, float("-inf")) >= REPEATED_SECONDS:
        _logged[key] = now
        if inspect.isawaitable(answer):
            why = f"{name} is a def and returns an awaitable, which nothing awaits; make it an async def and await there"
        else:
            why = "return True or False, such as with .exists(), is not None, or bool(…)"
        logger.error(
            "%r.%s returned %s, which counts as a no: only True is a yes; %s",
            topic,
            name,
            _shown(answer),
            why,
        )
    if inspect.iscoroutine(answer):
        answer.close()  # otherwise Python warns that it was never awaited
    return False


def _shown(answer: object) -> str:
    """Describe an answer without its ``repr()``, which would run the query of a queryset."""
    if answer is None or isinstance(answer, int | str):
        return shortened(answer)
    kind = type(answer)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__name__}"


def _may_be_true(hint: Any) -> bool:
    hint = getattr(hint, "__value__", hint)  # the alias of a type statement
    if any(hint is yes for yes in _YES) or isinstance(hint, typing.TypeVar | str):
        return True
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_may_be_true(argument) for argument in arguments)
    if origin is typing.Annotated:
        return _may_be_true(arguments[0])
    if origin is typing.Literal:
        return True in [argument for argument in arguments if isinstance(argument, bool)]
    return origin is typing.TypeGuard


def _is_class(hint: Any, base: type) -> bool:
    kind = typing.get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, base)


def _text(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
