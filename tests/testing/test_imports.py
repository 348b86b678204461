"""Imports of the testing package: the packages that it needs, and the moments when it may be imported."""

import ast
import subprocess
import sys
from pathlib import Path

import holdfast.testing

SESSION = """
import sys
sys.modules.update({"daphne": None, "pytest": None, "pytest_asyncio": None, "pytest_django": None})  # not installed

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "holdfast"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

from django.test import TestCase
from django.test.runner import DiscoverRunner


class Works(TestCase):
    def test_it_works(self):
        from holdfast.testing import LiveClient
        from tests.testing.harbour import harbour, person

        with harbour(), LiveClient(person("ada", "lobby")) as ada:
            ada.join("rooms/lobby")
            ada.call("rooms/lobby", "post", body="hi")
            ada.expect("message.posted", body="hi")


class Runner(DiscoverRunner):
    def build_suite(self, *args, **options):
        return self.test_loader.loadTestsFromTestCase(Works)


failures = Runner(verbosity=0).run_tests([])
servers = {"daphne", "hypercorn", "twisted", "uvicorn"}
print("loaded:", sorted(servers & {name.partition(".")[0] for name, module in sys.modules.items() if module}))
sys.exit(failures)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )


def test_daphne_and_pytest_need_not_be_installed() -> None:
    ran = run(SESSION)
    assert ran.returncode == 0, ran.stderr
    assert "Ran 1 test" in ran.stderr
    assert ran.stdout.strip().endswith("loaded: []")


def test_the_plugin_is_imported_before_django_is_set_up() -> None:
    ran = run("import holdfast.testing.pytest, sys; print('django.conf' in sys.modules)")
    assert (ran.returncode, ran.stdout.strip()) == (0, "False"), ran.stderr


def test_type_checkers_see_the_names_that_are_there() -> None:
    tree = ast.parse(Path(holdfast.testing.__file__).read_text())
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == holdfast.testing._DEFINED_IN
    assert sorted(holdfast.testing.__all__) == sorted(seen)
    for name in holdfast.testing.__all__:
        assert getattr(holdfast.testing, name) is not None
