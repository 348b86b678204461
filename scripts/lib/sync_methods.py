"""The text of ``src/holdfast/testing/sync_methods.py``: the methods of a live client for ``def`` tests.

They have the signatures and docstrings of the asynchronous ones, so they are generated from their source.
"""

import ast
import subprocess
import sys
from pathlib import Path

TESTING = Path(__file__).resolve().parents[2] / "src" / "holdfast" / "testing"

SOURCES = {"client_state.py": "ClientState", "client_methods.py": "ClientMethods"}

INTERNAL = {"disconnect"}
"""Public methods that the environment calls, and tests do not."""

HEAD = '''\
"""The methods of ``LiveClient`` that it shares with ``AsyncLiveClient``, without the ``await``.

Generated from client_state.py and client_methods.py by scripts/generate: edit those files, not this one.
"""

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar, overload

from holdfast.protocol.positions import Position
from holdfast.topics.event import Event
from holdfast.topics.presence import Member
from holdfast.topics.topic import Topic

from .client_methods import EVENT_WITHIN, NOTHING_WITHIN, ClientMethods
from .client_state import ANSWER_WITHIN
from .values import JoinAnswer, Received, ResetNotice

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class SyncMethods:
    """Runs each method of an asynchronous client to its end."""

    _client: ClientMethods

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        raise NotImplementedError
'''


def text() -> str:
    """The text of the module."""
    methods = (method for name, kind in SOURCES.items() for method in _methods(TESTING / name, kind))
    written = HEAD + "".join(f"\n{method}" for method in methods)
    # Without `async` more of a signature fits on a line.
    formatter = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--stdin-filename",
        str(TESTING / "sync_methods.py"),
        "-",
    ]
    return subprocess.run(formatter, input=written, capture_output=True, text=True, check=True).stdout


def _methods(path: Path, kind: str) -> list[str]:
    source = path.read_text()
    lines = source.splitlines(keepends=True)
    (cls,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == kind)
    return [
        _method(node, lines)
        for node in cls.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and node.name not in INTERNAL
    ]


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    first, body = min([node.lineno, *(each.lineno for each in node.decorator_list)]), node.body[0]
    last = body.end_lineno or body.lineno  # of the docstring, or of the `...` of an overload
    copied = "".join(lines[first - 1 : last]).replace("async def ", "def ")
    decorators = {ast.unparse(each) for each in node.decorator_list}
    if "overload" in decorators:
        return copied
    forwarded = f"self._client.{node.name}"
    if "property" not in decorators:
        forwarded += f"({_arguments(node.args)})"
    if isinstance(node, ast.AsyncFunctionDef):
        forwarded = f"self._run({forwarded})"
    nothing = isinstance(node.returns, ast.Constant) and node.returns.value is None
    return f"{copied}        {'' if nothing else 'return '}{forwarded}\n"


def _arguments(arguments: ast.arguments) -> str:
    """Pass every parameter on under its own name."""
    passed = [each.arg for each in (*arguments.posonlyargs, *arguments.args)][1:]  # without self
    if arguments.vararg:
        passed.append(f"*{arguments.vararg.arg}")
    passed += [f"{each.arg}={each.arg}" for each in arguments.kwonlyargs]
    if arguments.kwarg:
        passed.append(f"**{arguments.kwarg.arg}")
    return ", ".join(passed)
