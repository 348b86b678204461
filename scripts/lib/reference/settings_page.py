"""The page of the settings, from `conf.py`: names, types and defaults from the fields, the rest from their docstrings."""

import types
import typing
from typing import Annotated, Any

import msgspec

from . import inventory
from .prose import markdown

HEAD = """\
# Settings

All settings are keys of one dict, `HOLDFAST`, in the project's `settings.py`. Each key may be left out.

```python
HOLDFAST = {
    "REDIS": "redis://localhost:6379/0",
    "TOPICS_PER_CONNECTION": 200,
}
```

`manage.py check` reports a key that is no setting ([E001](../errors.md#holdfast.E001)) and a value that does not fit
([E002](../errors.md#holdfast.E002)). `override_settings(HOLDFAST={…})` works in tests.
"""

LIMITS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
NAMES = {str: "text", int: "whole number", float: "number", bool: "`True` or `False`", type(None): "`None`"}


def text() -> str:
    docstrings = inventory.setting_docstrings()
    sections = [
        f"## `{field.name.upper()}` {{ #{field.name.upper()} }}\n\n"
        f"Default: `{shown(field.default)}`. Takes: {kind(field.type)}.\n\n"
        f"{markdown(docstrings.get(field.name.upper()))}\n"
        for field in inventory.settings()
    ]
    return "\n".join([HEAD, *sections])


def shown(default: Any) -> str:
    """The default as one writes it in ``settings.py``."""
    if default is msgspec.NODEFAULT:
        return "{}"
    return (
        f'"{default}"'
        if isinstance(default, str)
        else f"{default:_}"
        if type(default) is int
        else repr(default)
    )


def kind(annotation: Any) -> str:
    """The type in words, with its limits."""
    if typing.get_origin(annotation) is Annotated:
        inner, *metas = typing.get_args(annotation)
        limits = [
            words.format(f"{value:_}" if type(value) is int else f"{value:g}")
            for meta in metas
            for name, words in LIMITS.items()
            if (value := getattr(meta, name, None)) is not None
        ]
        patterns = [f"matching `{meta.pattern}`" for meta in metas if getattr(meta, "pattern", None)]
        return ", ".join([kind(inner), *limits, *patterns])
    arguments = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return " or ".join(map(kind, arguments))
    if typing.get_origin(annotation) in (tuple, list):
        return f"list of {kind(arguments[0])}s"
    if typing.get_origin(annotation) is dict or annotation is dict:
        return "dict"
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value!r}`" for value in arguments)
    return NAMES.get(annotation) or f"`{getattr(annotation, '__name__', annotation)}`"
