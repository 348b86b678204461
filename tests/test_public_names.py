"""Names that `from holdfast import …` offers: one list, the same for Python, type checkers and `*`."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast import public_names
from holdfast.public_names import LAZY, OTHERS

ROOT = Path(__file__).resolve().parents[1]


def names_for_type_checkers() -> dict[str, str]:
    """Name: module, as imported under `if TYPE_CHECKING`."""
    tree = ast.parse(Path(holdfast.__file__).read_text())
    blocks = [
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.asname or alias.name: node.module or ""
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_see_the_names_that_are_there() -> None:
    assert names_for_type_checkers() == holdfast._DEFINED_IN
    assert sorted(holdfast.__all__) == sorted([*holdfast._DEFINED_IN, "__version__"])


@pytest.mark.parametrize("name", holdfast.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(holdfast, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Toppic'"):
        holdfast.Toppic  # noqa: B018


def test_importing_the_package_needs_no_configured_django() -> None:
    program = "import holdfast, sys; print([m for m in sys.modules if m.startswith(('django', 'holdfast.'))])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# ── names of other modules ───────────────────────────────────────────────────────────────────────────────────────────

ELSEWHERE = [
    ("SharedDocument", "from holdfast.pad import SharedDocument"),
    ("LiveClient", "from holdfast.testing import LiveClient"),
    ("connect", "from holdfast.client import connect or from holdfast.client.blocking import connect"),
    ("JwtAuthenticator", "from holdfast.auth.jwt import JwtAuthenticator"),
]


@pytest.mark.parametrize(("name", "way"), ELSEWHERE)
def test_a_name_that_another_module_has_is_an_import_error_that_says_where_it_is(name: str, way: str) -> None:
    with pytest.raises(ImportError, match=f"holdfast has no {name}. Write: {way}$"):
        exec(f"from holdfast import {name}", {})


@pytest.mark.parametrize("package", ["holdfast.testing", "holdfast.pad"])
def test_a_subpackage_says_it_too(package: str) -> None:
    with pytest.raises(ImportError, match=f"{package} has no Topic. Write: from holdfast import Topic$"):
        exec(f"from {package} import Topic", {})


def test_the_names_are_those_of_the_reference_and_of_the_pages() -> None:
    wanted = {(module, name) for module, names in documented().items() for name in names}
    known = {(module, name) for module, names in public_names.names().items() for name in names}
    assert wanted <= known, "add them to OTHERS in holdfast/public_names.py"
    assert not OTHERS.keys() & set(LAZY)
    for module, name in known:
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"


def documented() -> dict[str, set[str]]:
    """The names of ``docs/reference/python.md`` and those that the pages write out, by module."""
    found: dict[str, set[str]] = {}
    reference = (ROOT / "docs/reference/python.md").read_text()
    for line in re.findall(r"^- \[`.*", reference, re.MULTILINE):
        module, *names = re.findall(r"\[`([\w.]+)`\]", line)
        found.setdefault(module, set()).update(names)
    for page in sorted((ROOT / "docs/how-to").glob("*.md")):
        for module, name in re.findall(r"\b(holdfast(?:\.[a-z_]+)+)\.([A-Z]\w+)", page.read_text()):
            found.setdefault(module, set()).add(name)
    found["holdfast"].discard("__version__")
    for internal in ("holdfast.pad.models", "holdfast.pad.storage"):
        found.pop(internal, None)
    return found


def test_no_name_hides_a_submodule() -> None:
    names = {name for names in public_names.names().values() for name in names}
    for package in LAZY:
        modules = {found.name for found in pkgutil.iter_modules(importlib.import_module(package).__path__)}
        assert not names & modules


WITHOUT = """
import importlib.util, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pycrdt":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "pycrdt" else found(name, package)
try:
    from %s import SharedDocument
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("module", ["holdfast", "holdfast.pad"])
def test_a_missing_extra_is_named(module: str) -> None:
    command = [sys.executable, "-c", WITHOUT % module]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "this package is not installed: pycrdt. Run: pip install 'holdfast[pad]'" in ran.stdout
