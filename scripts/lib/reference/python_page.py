"""The page of the Python API, from signatures and docstrings.

Written by a script of ours, and not by mkdocstrings: the package's names are imported on first use, which static
readers of the source do not follow, and its docstrings say in prose what mkdocstrings expects in tables.
"""

import ast
import inspect
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from . import inventory, source
from .prose import markdown

HEAD = """\
# Python API

What users import. Each `def` that waits has an `async` twin whose name begins with `a`. Anything that is not on this page may
change without notice.
"""

WITHOUT_PROSE = {"holdfast", "holdfast.metrics", "holdfast.server"}
"""Modules whose own docstring is a map for contributors."""


class Member(NamedTuple):
    """One public attribute of a class."""

    name: str
    written: str
    docstring: str


def text() -> str:
    modules = inventory.public_names()
    contents = "\n".join(
        f"- [`{module.__name__}`](#{module.__name__}): "
        + ", ".join(f"[`{name}`](#{anchor(module, name)})" for name in names)
        for module, names in modules
    )
    return "\n".join([HEAD, contents, "", *(_module(module, names) for module, names in modules)])


def _module(module: ModuleType, names: list[str]) -> str:
    parts = [f"## `{module.__name__}` {{ #{module.__name__} }}\n"]
    if module.__name__ not in WITHOUT_PROSE:
        parts.append(f"{markdown(module.__doc__)}\n")
    parts += [_entry(anchor(module, name), name, unwrapped(getattr(module, name))) for name in names]
    return "\n".join(parts)


def anchor(module: ModuleType, name: str) -> str:
    """Return the anchor of a name on the page. Python-Markdown would read the underscores of ``__version__`` as bold type."""
    return f"{module.__name__}.{name.strip('_')}"


def unwrapped(value: Any) -> Any:
    """Return the function of a pytest fixture; anything else as it is."""
    return inspect.unwrap(getattr(value, "_fixture_function", value))


def _entry(place: str, name: str, value: Any) -> str:
    heading = f"### `{name}` {{ #{place} }}\n"
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return f"{heading}\nA `{type(value).__name__}`{CONSTANTS.get(name, '')}.\n"
    written = _class_line(value) if inspect.isclass(value) else source.signature(name, _function(value))
    parts = [heading, f"```python\n{written}\n```\n", f"{docstring(value)}\n"]
    if inspect.isclass(value) and value.__module__.rpartition(".")[0] not in inventory.OPAQUE:
        parts += [
            f"#### `{name}.{member.name}` {{ #{place}.{member.name} }}\n\n```python\n{member.written}\n```\n\n{member.docstring}\n"
            for member in members(value)
            if member.docstring
        ]
    return "\n".join(parts)


CONSTANTS = {
    "GAUGES": ": the names in a snapshot that go up and down",
    "connection_accepted": ": a connection has begun",
    "connection_closed": ", with `code`, `close_code`, `duration`, `bytes_received` and `bytes_sent`: a connection is gone",
    "connection_refused": ", with `code`, `status`, `close_code` and `retry_after`: a handshake was refused",
    "evicted": ", with `topic` and `code`: the server ended a subscription",
    "join_refused": ", with `topic`, `code` and `retry_after`: a join was refused",
    "limit_hit": ", with `limit`, `retry_after` and `topic`: something was beyond a limit",
    "__version__": ": the version of the installed package",
}


def docstring(value: Any) -> str:
    """The thing's own docstring as Markdown; ``""`` without one."""
    return markdown(value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__)


def _function(value: Any) -> source.Function:
    node = source.node_of(value)
    assert not isinstance(node, ast.ClassDef)
    return node


def _class_line(cls: type) -> str:
    """The class as one calls it, or its bases where it is for subclassing."""
    for base in cls.__mro__ if cls.__name__ not in inventory.MADE_BY_HOLDFAST else ():
        made_by = vars(base).get("__init__")
        if inspect.isfunction(made_by) and _is_ours(made_by):
            return source.signature(cls.__name__, _function(made_by), bound=True)
    is_struct = isinstance(cls, type(msgspec.Struct)) and msgspec.structs.fields(cls)
    if is_struct and cls.__name__ not in inventory.MADE_BY_HOLDFAST:
        return source.called(cls.__name__, _fields(cls))
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    return f"class {cls.__name__}({bases})" if bases else f"class {cls.__name__}"


def _fields(cls: type) -> list[str]:
    """A struct's parameters, in the order in which it takes them."""
    written = {
        node.target.id: source.field(node)
        for base in reversed(cls.__mro__)
        if _is_ours(base)
        for node in source.class_of(base).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    taken = list(inspect.signature(cls).parameters.values())
    fields = [written[parameter.name] for parameter in taken]
    by_name = [index for index, parameter in enumerate(taken) if parameter.kind is parameter.KEYWORD_ONLY]
    if by_name:
        fields.insert(by_name[0], "*")
    return fields


def _is_ours(made: Any) -> bool:
    """Return whether this class or function belongs to the package."""
    return str(made.__module__).partition(".")[0] == "holdfast"


def members(cls: type) -> list[Member]:
    """The public methods, properties and documented fields of a class, inherited ones too, in the order of the source.

    Methods that take the place of one from another package (``setUpClass``) are documented there. Members that only Holdfast
    itself uses (``inventory.UNLISTED``) are left out.
    """
    found: dict[str, Member] = {}
    foreign = [base for base in cls.__mro__ if not _is_ours(base)]
    unlisted = set[str]().union(*(inventory.UNLISTED.get(base.__name__, ()) for base in cls.__mro__))
    for base in cls.__mro__:
        if not _is_ours(base):
            continue
        for member in _own_members(base):
            if member.name in unlisted or any(hasattr(other, member.name) for other in foreign):
                continue
            known = found.setdefault(member.name, member)
            if not known.docstring:  # it says what the inherited one says
                found[member.name] = known._replace(docstring=member.docstring)
    return list(found.values())


def _own_members(cls: type) -> list[Member]:
    node = source.class_of(cls)
    written_below = source.field_docstrings(node.body)
    found: dict[str, Member] = {}
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            name = inner.target.id
            if name in written_below and not name.startswith("_"):
                found[name] = Member(name, source.field(inner), markdown(written_below[name]))
        elif isinstance(inner, source.Function) and not inner.name.startswith("_"):
            # Of overloads the last one, which carries the docstring.
            found[inner.name] = Member(inner.name, _method(inner), markdown(ast.get_docstring(inner)))
    return list(found.values())


def _method(node: source.Function) -> str:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if "property" in decorators:
        return f"{node.name}: {ast.unparse(node.returns) if node.returns else 'Any'}"
    return source.signature(node.name, node, bound="staticmethod" not in decorators)
