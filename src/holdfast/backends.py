"""Values of the settings that name a backend: a known name, a dotted path, or a dict of ``BACKEND`` and ``OPTIONS``."""

import difflib
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

KEYS = ("BACKEND", "OPTIONS")


class BadBackend(ValueError):
    """The value names no backend. ``what`` is the mistake, ``hint`` the way out."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what} {hint}")
        self.what, self.hint = what, hint


class Backend(str):
    """The name or dotted path of a backend, with the keyword arguments for its class.

    It is a ``str``, so that settings with and without options compare alike.
    """

    __slots__ = ("options",)

    options: Mapping[str, Any]

    @classmethod
    def parse(cls, given: object) -> "Backend":
        """Read ``"redis"``, ``"shop.logs.Log"`` or ``{"BACKEND": "shop.logs.Log", "OPTIONS": {"size": 5}}``.

        Raises :class:`BadBackend`.
        """
        if not isinstance(given, Mapping):
            given = {"BACKEND": given}
        for key in given:
            if key not in KEYS:
                near = difflib.get_close_matches(str(key).upper(), KEYS, n=1)
                did_you_mean = f'Did you mean "{near[0]}"? ' if near else ""
                raise BadBackend(f"has the key {key!r}, which is not one.", f"{did_you_mean}{_EXAMPLE}")
        name, options = given.get("BACKEND"), given.get("OPTIONS", {})
        if not isinstance(name, str) or not name:
            raise BadBackend(f"names no backend: {name!r} is not a text.", _EXAMPLE)
        if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
            raise BadBackend(f'has "OPTIONS" that are no dict of names: {options!r}.', _EXAMPLE)
        if options and "." not in name:
            raise BadBackend(
                f"is {name!r} with OPTIONS ({', '.join(options)}), and that takes none.",
                "Leave OPTIONS out; they are the keyword arguments of a class that is named by its dotted path.",
            )
        backend = cls(name)
        backend.options = MappingProxyType(dict(options))
        return backend


_EXAMPLE = 'Expected: {"BACKEND": "shop.backends.Log", "OPTIONS": {"size": 5}}.'


def options_of(backend: str) -> Mapping[str, Any]:
    """Return the options of a backend; a backend that was given as text has none."""
    return backend.options if isinstance(backend, Backend) else {}


def unmakeable(backend: str, found: Any) -> BadBackend | None:
    """Return why a class cannot be instantiated with the options of its backend, or ``None`` if it can."""
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        return BadBackend(
            f"is {str(backend)!r}, which lacks {missing}.",
            "Define these methods; the docstrings of the base class say what each must promise.",
        )
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return None  # the class is not written in Python
    try:
        signature.bind(**options_of(backend))
    except TypeError as error:
        return BadBackend(
            f"is {str(backend)!r}, which is {found.__name__}{signature} and does not take its OPTIONS: {error}.",
            f'OPTIONS are its keyword arguments: {{"BACKEND": "{backend}", "OPTIONS": {{…}}}}.',
        )
    return None
