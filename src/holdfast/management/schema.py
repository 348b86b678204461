"""``manage.py holdfast schema``: the contract of the topics, printed, written or compared with a file."""

import difflib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from holdfast.schema import asyncapi, typescript
from holdfast.schema.contract import Contract
from holdfast.topics.registry import registry

FORMATS = ("asyncapi", "typescript")
SHOWN = 20
"""Lines of a difference that an error shows."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="default: typescript for a FILE whose name ends with .ts, and asyncapi otherwise",
    )
    parser.add_argument("--output", metavar="FILE", help="write this file instead of printing")
    parser.add_argument("--check", metavar="FILE", help="write nothing; fail if this file is not current")
    parser.add_argument("--title", default="Live topics", help="AsyncAPI: the title of the document")
    parser.add_argument(
        "--api-version", default="1", metavar="VERSION", help="AsyncAPI: the version of your API"
    )
    parser.add_argument(
        "--module",
        default="holdfast-client",
        help="TypeScript: the name by which your modules import the client; holdfast for pages with {%% live_script %%}",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="TypeScript: make the name of a topic that the server does not have an error",
    )


def run(options: dict[str, Any]) -> str:
    """Carry out the command; return what it prints. Raises ``CommandError`` for a file that is not current."""
    file, check = options["output"], options["check"]
    if file and check:
        raise CommandError("--output writes a file and --check compares one: give one of the two.")
    text = _text(options, options["format"] or _format_of(file or check or ""))
    if check:
        _compare(Path(check), text)
        return f"{check} is current.\n"
    if file:
        Path(file).write_text(text, encoding="utf-8")
        return f"Wrote {file}.\n"
    return text


def _text(options: dict[str, Any], form: str) -> str:
    contract = Contract.of(registry.topics())
    if form == "typescript":
        return typescript.text(contract, module=options["module"], strict=options["strict"])
    return asyncapi.text(contract, title=options["title"], version=options["api_version"])


def _format_of(file: str) -> str:
    return "typescript" if file.endswith(".ts") else "asyncapi"


def _compare(path: Path, text: str) -> None:
    try:
        found = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error}. Write it with --output {path}.") from error
    if found == text:
        return
    lines = difflib.unified_diff(
        found.splitlines(), text.splitlines(), f"{path}", "the topics", lineterm="", n=1
    )
    shown = list(lines)
    more = [f"… {len(shown) - SHOWN} more lines"] if len(shown) > SHOWN else []
    raise CommandError(
        f"{path} does not fit the topics any more. Write it again: the same command with --output instead of --check.\n"
        + "\n".join([*shown[:SHOWN], *more])
    )
