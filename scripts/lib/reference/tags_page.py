"""The page of the template tags, from their docstrings."""

from collections.abc import Callable
from typing import Any

from . import inventory, source
from .prose import markdown


def text() -> str:
    parts = ["# Template tags\n"]
    for library, tags in inventory.template_libraries().items():
        parts.append(f"In each template that uses them: `{{% load {library} %}}`.\n")
        parts += [_section(name, made) for name, made in tags.items()]
    return "\n".join(parts)


def _section(name: str, made: Callable[..., Any]) -> str:
    node = source.node_of(made)
    given = source.arguments(node.args)
    arguments = [argument for argument in given if argument.partition(":")[0] != "context"]
    usage = " ".join([name, *(_placeholder(argument) for argument in arguments)])
    return f"## `{{% {name} %}}` {{ #{name} }}\n\n```html\n{{% {usage} %}}\n```\n\n{markdown(made.__doc__)}\n"


def _placeholder(argument: str) -> str:
    """An argument as one writes it in a template; one that may be left out in brackets."""
    name, _, default = argument.partition(" = ")
    name = name.partition(":")[0]
    return f"[{name}={default}]" if default else name
