"""Comparison of the reference with the code: names that it lacks, and names that are gone from the code."""

import importlib
import inspect
import re
from collections.abc import Iterator

from . import checks_page, inventory, python_page

REFERENCE = inventory.ROOT / "docs" / "reference"

DUNDER = re.compile(r"\.(\w+)$")
ANCHOR = re.compile(r"\{ #([\w.-]+) \}")


def mistakes() -> Iterator[str]:
    """Each thing that is not documented, or is documented and not there, as one line."""
    yield from settings()
    yield from public_names()
    yield from commands()
    yield from template_tags()
    yield from codes()
    yield from checks()
    yield from client()
    yield from pages_are_found()


def settings() -> Iterator[str]:
    written, docstrings = _sections("settings.md"), inventory.setting_docstrings()
    names = [field.name.upper() for field in inventory.settings()]
    for name in names:
        if not docstrings.get(name, "").strip():
            yield f"src/holdfast/conf.py: the setting {name} has no docstring"
    yield from _differences("docs/reference/settings.md", "setting", names, written)


def public_names() -> Iterator[str]:
    unlisted = inventory.modules_with_all() - set(inventory.PUBLIC) - inventory.INTERNAL
    for module in sorted(unlisted):
        yield f"{module} has an __all__: list it as PUBLIC or INTERNAL in scripts/lib/reference/inventory.py"
    places = {}
    written = _sections("python.md")
    for module, names in inventory.public_names():
        for name in names:
            whole = f"{module.__name__}.{name}"
            if python_page.anchor(module, name) not in written:
                yield f"docs/reference/python.md: {whole} is missing"
            value = python_page.unwrapped(getattr(module, name))
            places[name] = whole
            if inspect.isclass(value) or inspect.isfunction(value):
                yield from _docstrings(whole, value)
    for name, members in inventory.UNLISTED.items():
        for member in sorted(members):
            if name not in places or not _exists(f"{places[name]}.{member}"):
                yield f"scripts/lib/reference/inventory.py: there is no {name}.{member} any more to be left out"
    for anchor in sorted(written):
        if not (_exists(anchor) or _exists(DUNDER.sub(r".__\1__", anchor))):
            yield f"docs/reference/python.md: there is no {anchor}"


def _docstrings(name: str, value: object) -> Iterator[str]:
    own = python_page.docstring(value)
    if not own:
        yield f"{name} has no docstring"
    if inspect.isclass(value) and value.__module__.rpartition(".")[0] not in inventory.OPAQUE:
        for member in python_page.members(value):
            if not member.docstring and f"`{member.name}`" not in own:
                yield f"{name}.{member.name} has no docstring, and that of {name} does not name it"


def _exists(dotted: str) -> bool:
    """Return whether this is the name of a module, or of something in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        rest = parts[length:]
        for part in rest:
            annotated = part in getattr(value, "__annotations__", {})
            if not hasattr(value, part) and not annotated:
                return False
            value = getattr(value, part, None)
        return True
    return False


def commands() -> Iterator[str]:
    text, present = (REFERENCE / "commands.md").read_text(), inventory.commands()
    for command in present:
        section = _section(text, f"`manage.py {command.name}`")
        if section is None:
            yield f"docs/reference/commands.md: manage.py {command.name} is missing"
            continue
        if not command.help:
            yield f"manage.py {command.name} has no help"
        for action in command.actions:
            name = (action.option_strings or [action.dest])[0]
            if not re.search(rf"`{re.escape(name)}[ `]", section):
                yield f"docs/reference/commands.md: {name} of manage.py {command.name} is missing"
            if not action.help:
                yield f"{name} of manage.py {command.name} has no help"
    written = re.findall(r"^## `manage\.py (.+?)`", text, re.MULTILINE)
    yield from _gone("docs/reference/commands.md", "command", [c.name for c in present], written)


def template_tags() -> Iterator[str]:
    names = []
    for tags in inventory.template_libraries().values():
        for name, made in tags.items():
            names.append(name)
            if not made.__doc__:
                yield f"the template tag {name} has no docstring"
    yield from _differences(
        "docs/reference/template-tags.md", "template tag", names, _sections("template-tags.md")
    )


def codes() -> Iterator[str]:
    names = [code.name for code in inventory.codes()]
    yield from _differences(
        "docs/reference/codes.md", "code", [*names, *inventory.local_codes()], _sections("codes.md")
    )
    protocol = (inventory.ROOT / "PROTOCOL.md").read_text()
    table = dict(re.findall(r"^\| (\d{4}) \| `(\w+)` \|", protocol, re.MULTILINE))
    closes = {str(code.close): code.name for code in inventory.codes() if code.close is not None}
    for close in sorted(closes.keys() | table.keys()):
        if closes.get(close) != table.get(close):
            code, written = closes.get(close, "nothing"), table.get(close, "nothing")
            yield f"PROTOCOL.md: the close code {close} is {written} there, and {code} in protocol/codes.py"
    for name in names:
        if f"`{name}`" not in protocol:
            yield f"PROTOCOL.md: the code {name} is missing"


def checks() -> Iterator[str]:
    present = [check.id for check in inventory.checks()]
    yield from _differences("docs/errors.md", "system check", present, set(checks_page.sections()))


def client() -> Iterator[str]:
    """The types of the browser client are put into its page as they are, with their comments."""
    page = (REFERENCE / "client.md").read_text()
    for needed in ("src/holdfast/static/holdfast/holdfast.d.ts", "client/README.md"):
        if f'--8<-- "{needed}' not in page:
            yield f"docs/reference/client.md does not include {needed}"


def pages_are_found() -> Iterator[str]:
    """MkDocs itself only warns of pages that the navigation leaves out."""
    navigation = (inventory.ROOT / "mkdocs.yml").read_text()
    for path in sorted(REFERENCE.glob("*.md")):
        if f"reference/{path.name}" not in navigation:
            yield f"mkdocs.yml: docs/reference/{path.name} is not in the navigation"


def _sections(page: str) -> set[str]:
    path = REFERENCE / page
    return set(ANCHOR.findall(path.read_text())) if path.exists() else set()


def _section(text: str, title: str) -> str | None:
    """A section of the second level, from its heading to the next one."""
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        if section.startswith(f"## {title}"):
            return section
    return None


def _differences(where: str, kind: str, present: list[str], written: set[str]) -> Iterator[str]:
    for name in present:
        if name not in written:
            yield f"{where}: the {kind} {name} is missing"
    yield from _gone(where, kind, present, written)


def _gone(where: str, kind: str, present: list[str], written: "set[str] | list[str]") -> Iterator[str]:
    for name in sorted(set(written) - set(present)):
        yield f"{where}: there is no {kind} {name} any more"
