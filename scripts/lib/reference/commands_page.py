"""The page of the commands, from their parsers."""

from argparse import SUPPRESS, Action

from . import inventory

HEAD = """\
# Commands

Django's own options (`--settings`, `--verbosity` …) may stand before or after a subcommand.

"""

RUNSERVER = """
It is Django's own `runserver` (that of `django.contrib.staticfiles`, where that is installed) with an ASGI server inside, so
pages, static files and live topics share one port. It takes the options of Django's. `"holdfast"` has to stand above
`"django.contrib.staticfiles"` and `"daphne"` in `INSTALLED_APPS` ([W006](../errors.md#holdfast.W006)).
"""


def text() -> str:
    return HEAD + "\n".join(_section(command) for command in inventory.commands())


def _section(command: inventory.Subcommand) -> str:
    lines = [f"## `manage.py {command.name}` {{ #{command.name.replace(' ', '-')} }}", "", command.help]
    if command.name == "runserver":
        lines.append(RUNSERVER)
    if command.actions:
        lines += ["", "| option | does |", "|---|---|", *(_row(action) for action in command.actions)]
    return "\n".join([*lines, ""])


def _row(action: Action) -> str:
    return f"| {_spelled(action)} | {_help(action)} |"


def _spelled(action: Action) -> str:
    takes = "" if action.nargs == 0 else f" {_value(action)}"
    names = action.option_strings or [action.dest]
    return ", ".join(f"`{name}{takes}`" for name in names)


def _value(action: Action) -> str:
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return str(action.metavar or action.dest.upper())


def _help(action: Action) -> str:
    text = (action.help or "").replace("%(default)s", f"`{action.default}`").replace("%%", "%")
    if action.default not in (None, False, True, "", SUPPRESS) and "Default" not in text:
        text = f"{text} Default: `{action.default}`".strip()
    return text.replace("|", "\\|")
