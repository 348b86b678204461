"""Declarations in the source of a module that `inspect` does not show, such as the docstrings of fields."""

import ast
import functools
import itertools
import sys
from pathlib import Path
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef

WIDEST = 100


@functools.cache
def tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text())


def node_of(thing: Any) -> Function | ast.ClassDef:
    """The class or function statement that made ``thing``; of overloads the last one."""
    file = sys.modules[thing.__module__].__file__
    assert file is not None
    body: list[ast.stmt] = tree(file).body
    found: Any = None
    for name in thing.__qualname__.split("."):
        matching = [node for node in _flat(body) if getattr(node, "name", None) == name]
        found = matching[-1]
        body = found.body
    assert isinstance(found, Function | ast.ClassDef)
    return found


def _flat(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements, and those under an ``if``."""
    return [
        inner
        for node in body
        for inner in ([*node.body, *node.orelse] if isinstance(node, ast.If) else [node])
    ]


def field_docstrings(body: list[ast.stmt]) -> dict[str, str]:
    """The strings that stand below annotated fields, by the field's name."""
    found = {}
    for field, below in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = below.value.value
    return found


def signature(name: str, node: Function, *, bound: bool = False) -> str:
    """``name(…) -> …`` as in the source; a bound method's without its first parameter."""
    given = arguments(node.args)[1:] if bound else arguments(node.args)
    if bound and given[:1] == ["/"]:  # stood behind self
        given = given[1:]
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    awaited = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{awaited}{called(name, given)}{result}"


def called(name: str, given: list[str]) -> str:
    """A call in one line if it is short enough, else with a line for each argument."""
    line = f"{name}({', '.join(given)})"
    if len(line) <= WIDEST:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in given) + ")"


def arguments(given: ast.arguments) -> list[str]:
    """The parameters as in the source, with their annotations and defaults."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + given.defaults
    written = [_argument(argument, default) for argument, default in zip(plain, defaults, strict=True)]
    if given.posonlyargs:
        written.insert(len(given.posonlyargs), "/")
    if given.vararg is not None and not _takes_nothing(given.vararg):
        written.append(f"*{_argument(given.vararg, None)}")
    elif given.kwonlyargs:
        written.append("*")
    written += [
        _argument(argument, default)
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    if given.kwarg is not None:
        written.append(f"**{_argument(given.kwarg, None)}")
    return written


def _takes_nothing(argument: ast.arg) -> bool:
    """``*given: Never`` is there for the error message of a value without a name."""
    return argument.annotation is not None and ast.unparse(argument.annotation) == "Never"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    annotated = f": {ast.unparse(argument.annotation)}" if argument.annotation is not None else ""
    if default is None:
        return f"{argument.arg}{annotated}"
    between = " = " if annotated else "="
    return f"{argument.arg}{annotated}{between}{ast.unparse(default)}"


def class_of(cls: type) -> ast.ClassDef:
    node = node_of(cls)
    assert isinstance(node, ast.ClassDef)
    return node


def field(node: ast.AnnAssign) -> str:
    """An annotated attribute, with its default."""
    default = f" = {ast.unparse(node.value)}" if node.value is not None else ""
    return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{default}"
