"""The tutorial, followed to the letter in an empty project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def run(project: Path, *command: str) -> str:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_", "PYTEST_"))
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has who typed in every block with a title."""
    folder = tmp_path_factory.mktemp("tutorial")
    run(folder, "-m", "django", "startproject", "shop", ".")
    run(folder, "manage.py", "startapp", "orders")
    for _, title, code in BLOCK.findall(TUTORIAL.read_text()):
        if title == "settings.py":
            with (folder / "shop" / title).open("a") as settings:
                settings.write("\n" + code)
            continue
        target = folder / ("shop" if title == "asgi.py" else "") / title
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(code)
    run(folder, "manage.py", "makemigrations", "orders")
    run(folder, "manage.py", "migrate")
    return folder


def test_the_tutorials_project_passes_the_system_checks(project: Path) -> None:
    assert "no issues" in run(project, "manage.py", "check", "--database", "default")


def test_the_tutorials_own_test_passes(project: Path) -> None:
    assert "OK" in run(project, "manage.py", "test")


def test_the_tutorials_action_is_refused_when_it_is_too_late(project: Path) -> None:
    (project / "orders" / "test_cancel.py").write_text(
        """
from django.contrib.auth.models import User
from django.test import TestCase
from holdfast.testing import CallError, LiveClient
from .models import Order
from .services import ship


class CancelTests(TestCase):
    def test_cancel(self):
        ada = User.objects.create_user("ada")
        first, second = (Order.objects.create(customer=ada) for _ in range(2))
        ship(second)
        with LiveClient(ada) as client:
            assert client.join(f"orders/{first.pk}").snapshot == {"state": "placed"}
            client.join(f"orders/{second.pk}")
            assert client.call(f"orders/{first.pk}", "cancel") == "cancelled"
            client.expect("state.changed", state="cancelled")
            with self.assertRaises(CallError) as refused:
                client.call(f"orders/{second.pk}", "cancel")
            assert refused.exception.code == "refused"
"""
    )
    assert "Ran 1 test" in run(project, "manage.py", "test", "orders.test_cancel")


def test_the_tutorials_page_renders(project: Path) -> None:
    page = run(
        project,
        "-c",
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'; django.setup();"
        "from django.template.loader import render_to_string;"
        "print(render_to_string('orders/order.html', {'order': {'pk': 7}}))",
    )
    assert 'topic("orders/7")' in page
    assert "importmap" in page
