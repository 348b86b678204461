"""The rules in examples: people copy them, so each has to be right for clients that are not signed in too."""

import ast
import re
import textwrap
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser

ROOT = Path(__file__).parents[2]
PLACES = (
    "README.md",
    "docs/**/*.md",
    "src/**/*.py",
    "example/**/*.py",
    "bench/**/*.py",
    "tests/**/test_how_to.py",
)
RULE = re.compile(r"^( *)(?:async )?def may_join\(self, user\b.*\n(?:\1 +.*\n| *\n)+", re.MULTILINE)

FOUND = [
    (str(path.relative_to(ROOT)), textwrap.dedent(found[0]))
    for place in PLACES
    for path in sorted(ROOT.glob(place))
    for found in RULE.finditer(path.read_text())
]


def mentions_user(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == "user" for inner in ast.walk(node))


def asks_with_user(node: ast.AST) -> bool:
    """Return whether the user, or an attribute of theirs, is an argument of a call."""
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return any(mentions_user(argument) for call in calls for argument in (*call.args, *call.keywords))


def is_guarded(node: ast.expr | None) -> bool:
    """Return whether it begins with ``user.is_authenticated and``."""
    return (
        isinstance(node, ast.BoolOp)
        and isinstance(node.op, ast.And)
        and ast.unparse(node.values[0]) == "user.is_authenticated"
    )


def test_examples_are_found_where_people_copy_from() -> None:
    places = {place for place, _ in FOUND}
    assert {"README.md", "docs/index.md", "docs/tutorial.md", "src/holdfast/topics/topic.py"} <= places


@pytest.mark.parametrize(("place", "rule"), FOUND, ids=[f"{place}-{n}" for n, (place, _) in enumerate(FOUND)])
def test_no_rule_looks_for_the_rows_of_an_anonymous_user(place: str, rule: str) -> None:
    """Their key is ``None``, which in a filter means the rows that have no user; the user itself is a ``TypeError`` there."""
    assert AnonymousUser().pk is None
    (function,) = ast.parse(rule).body
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
    assert is_guarded(returned[0]) or not asks_with_user(function), place
    assert "user=user.pk" not in rule
