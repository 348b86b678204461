"""Inventory of the names to document, read from the code. Each function returns names in the order in which pages list them."""

import ast
import importlib
import inspect
import re
from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from . import project, source

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "src" / "holdfast"

#: Modules that users import from. ``None``: all that the module offers (``__all__``, or what it defines without an
#: underscore); else only these names.
PUBLIC: dict[str, tuple[str, ...] | None] = {
    "holdfast": None,
    "holdfast.asgi": None,
    "holdfast.metrics": ("snapshot", "Counters", "GAUGES"),
    "holdfast.signals": None,
    "holdfast.tickets": None,
    "holdfast.pad": None,
    "holdfast.client": None,
    "holdfast.client.blocking": None,
    "holdfast.testing": None,
    "holdfast.testing.pytest": None,
    "holdfast.server": None,
    "holdfast.log.base": ("Log", "LogError", "LogUnavailable", "NotMigrated"),
    "holdfast.backplane.base": ("Backplane",),
    "holdfast.presence.base": ("PresenceStore", "PresenceUnavailable"),
}

#: Packages whose classes users only name, for a server to call their methods.
OPAQUE = {"holdfast.server"}

_ENVIRONMENT = {"open", "shared", "start", "release", "stop", "close", "settle", "held_back"}

#: Members without an underscore that only Holdfast itself uses, by the class that the page shows.
UNLISTED: dict[str, set[str]] = {
    "AsyncLive": _ENVIRONMENT,
    "BlockingLive": {"run"},
    "ClientError": {"of"},
    "Identity": {"owner", "limit_key", "with_token"},
    "Keep": {"age", "before"},
    "Live": _ENVIRONMENT,
    "LiveError": {"of"},
    "Member": {"read"},
    "RemoteTopic": {"end", "take"},
    "Slow": {"conflates", "key_of"},
    "Topic": {"declared", "from_match"},
}

#: Classes that users never call: Holdfast raises them, or methods of the class make the objects.
MADE_BY_HOLDFAST = {
    "BlockingLive",
    "BlockingTopic",
    "CallError",
    "ClientError",
    "Disconnected",
    "JoinError",
    "LiveError",
    "RemoteLive",
    "RemoteTopic",
    "Slow",
}

#: Modules with an ``__all__`` that is for the package itself.
INTERNAL = {"holdfast.server.masking"}

#: The commands, in the order of the page.
COMMANDS = ("runserver", "holdfast")


CHECK_ID = re.compile(r"holdfast\.[EWI]\d{3}")


class Check(NamedTuple):
    """A system check: its id, what it is (``Error`` or ``Warning``), and the docstring of the function that makes it."""

    id: str
    level: str


class Subcommand(NamedTuple):
    """One command line: ``manage.py`` and ``name``; ``actions`` are its own options, without Django's."""

    name: str
    help: str
    actions: list[Action]


def settings() -> list[msgspec.structs.FieldInfo]:
    from holdfast.conf import Settings

    return list(msgspec.structs.fields(Settings))


def setting_docstrings() -> dict[str, str]:
    """By the name in the dict, which is in capitals."""
    from holdfast.conf import Settings

    node = source.node_of(Settings)
    return {name.upper(): text for name, text in source.field_docstrings(node.body).items()}


def codes() -> list[Any]:
    from holdfast.protocol.codes import CATALOGUE

    return list(CATALOGUE.values())


def local_codes() -> dict[str, str]:
    """The codes that only the browser client gives, with their messages."""
    text = (ROOT / "client" / "src" / "texts.ts").read_text()
    table = re.search(r"const LOCAL\b[^=]*= \{(.*?)\n\};", text, re.DOTALL)
    assert table is not None, "client/src/texts.ts has no table LOCAL"
    return dict(re.findall(r"""^\s*(\w+):\s*"((?:[^"\\]|\\.)*)",?$""", table[1], re.MULTILINE))


def checks() -> list[Check]:
    """Every ``Error`` and ``Warning`` of Django's system checks that the package makes, by id."""
    found: dict[str, Check] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if not CHECK_ID.search(path.read_text()):
            continue  # parsing each module takes longer than all else that makes the reference
        for node in ast.walk(source.tree(str(path))):
            if isinstance(node, ast.Call):
                for name in _check_ids(node):
                    found[name] = Check(id=name, level=_level(node, name))
    return sorted(found.values())


def _check_ids(call: ast.Call) -> list[str]:
    """The ids in ``id="holdfast.E001" if … else "holdfast.E002"``."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "id"]
    return [
        node.value
        for value in given
        for node in ast.walk(value)
        if isinstance(node, ast.Constant) and CHECK_ID.fullmatch(str(node.value))
    ]


def _level(call: ast.Call, name: str) -> str:
    return {"E": "error", "W": "warning", "I": "note"}[name.partition(".")[2][0]]


def public_names() -> list[tuple[ModuleType, list[str]]]:
    """Modules that users import from, each with the names that it offers."""
    project.set_up()
    return [
        (module, _offered(module, only))
        for name, only in PUBLIC.items()
        for module in [importlib.import_module(name)]
    ]


def _offered(module: ModuleType, only: tuple[str, ...] | None) -> list[str]:
    if only is not None:
        return list(only)
    if hasattr(module, "__all__"):
        return list(module.__all__)
    names = [
        name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__
    ]
    return [name for name in names if not name.startswith("_") and _is_api(getattr(module, name))]


def _is_api(value: object) -> bool:
    """Leave out aliases of types, such as ``Scope = MutableMapping[str, Any]``."""
    return (
        inspect.isclass(value)
        or inspect.isfunction(value)
        or type(value).__name__ == "FixtureFunctionDefinition"
    )


def modules_with_all() -> set[str]:
    """Modules that declare what they offer. Each is in ``PUBLIC`` or in ``INTERNAL``."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
        if "__all__" in path.read_text()
        for node in source.tree(str(path)).body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    }


def template_libraries() -> dict[str, dict[str, Any]]:
    """Tags and filters by the name that ``{% load %}`` takes: each with its function."""
    project.set_up()
    found = {}
    for path in sorted((PACKAGE / "templatetags").glob("[!_]*.py")):
        library = importlib.import_module(f"holdfast.templatetags.{path.stem}").register
        found[path.stem] = {
            name: inspect.unwrap(made) for name, made in (library.tags | library.filters).items()
        }
    return found


def commands() -> list[Subcommand]:
    """All commands and subcommands, each with the options that are not Django's."""
    from django.core.management import load_command_class
    from django.core.management.base import BaseCommand

    project.set_up()
    present = {path.stem for path in (PACKAGE / "management" / "commands").glob("[!_]*.py")}
    common = {
        option
        for action in BaseCommand().create_parser("manage.py", "x")._actions
        for option in action.option_strings
    }
    found = []
    for name in [*COMMANDS, *sorted(present - set(COMMANDS))]:
        command = load_command_class("holdfast", name)
        parser = command.create_parser("manage.py", name)
        nested = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
        if not nested:
            own = _own(parser, common) if name != "runserver" else []  # Django's documentation has them
            found.append(Subcommand(name=name, help=command.help, actions=own))
        for action in nested:
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            found += [
                Subcommand(name=f"{name} {sub}", help=helps.get(sub, ""), actions=_own(subparser, common))
                for sub, subparser in action.choices.items()
            ]
    return found


def _own(parser: ArgumentParser, common: set[str]) -> list[Action]:
    return [
        action
        for action in parser._actions
        if action.help != SUPPRESS and not common.intersection(action.option_strings)
    ]


def client_exports() -> list[str]:
    """What the browser client's module exports, types included."""
    text = (PACKAGE / "static" / "holdfast" / "holdfast.d.ts").read_text()
    return re.findall(
        r"^export (?:declare )?(?:abstract )?(?:function|class|interface|type|const) (\w+)",
        text,
        re.MULTILINE,
    )
