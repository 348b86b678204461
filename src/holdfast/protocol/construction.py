"""Errors about the construction of a value. They name the class, the given values, the accepted ones, and an example.

msgspec itself says only ``Extra positional arguments provided``.
"""

import difflib
import inspect
from typing import TYPE_CHECKING, Any

import msgspec

LONGEST = 60

make = msgspec.StructMeta.__call__
"""Constructs a struct without the explanation, for code of this library that constructs many: ``make(Keep, days=30)``."""


def shortened(value: object) -> str:
    """Return the ``repr`` of a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


class Explained(msgspec.StructMeta):
    """Metaclass of structs that a project constructs itself. Arguments that do not fit raise a ``TypeError`` such as::

        Keep(30): it takes no value without a name; write for example Keep(days=30)

    A struct may state in ``__example__`` how it is constructed; otherwise the example is made of its fields.
    """

    if not TYPE_CHECKING:  # type checkers take the signature of a struct from its fields

        def __call__(self, *given: Any, **named: Any) -> Any:
            try:
                return make(self, *given, **named)
            except TypeError as error:
                complaint = _complaint(self, given, named)
                if complaint is None:
                    raise  # an error that the struct itself raised
                raise TypeError(complaint) from error


def _complaint(cls: Any, given: tuple[Any, ...], named: dict[str, Any]) -> str | None:
    """Return what does not fit; ``None`` if everything does."""
    parameters = inspect.signature(cls).parameters
    ordered = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    taken = ordered[: len(given)]
    required = [p.name for p in parameters.values() if p.default is p.empty]
    missing = [repr(name) for name in required if name not in taken and name not in named]
    unknown = next((name for name in named if name not in parameters), None)
    if len(given) > len(ordered):
        takes = f"at most {len(ordered)} values" if ordered else "no value"
        what = f"it takes {takes} without a name"
    elif unknown is not None:
        near = difflib.get_close_matches(unknown, parameters, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f" (known: {', '.join(parameters) or 'none'})"
        what = f"it has no {unknown!r}{hint}"
    elif twice := next((name for name in taken if name in named), None):
        what = f"{twice!r} is given twice"
    elif missing:
        what = f"it lacks {' and '.join(missing)}"
    else:
        return None
    shown = ", ".join([*map(shortened, given), *(f"{name}={shortened(v)}" for name, v in named.items())])
    example = getattr(cls, "__example__", None) or _example(cls.__name__, required, parameters)
    return f"{cls.__name__}({shown}): {what}; write for example {example}"


def _example(name: str, required: list[str], parameters: Any) -> str:
    return f"{name}({', '.join(f'{field}=…' for field in required or list(parameters)[:1])})"
