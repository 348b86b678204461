"""Names that `from holdfast import …` offers: one list, the same for Python, type checkers and `*`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast


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
