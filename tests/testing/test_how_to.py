"""`docs/how-to/test-your-topics.md`, followed to the letter in a separate project."""

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

PAGE = Path(__file__).parents[2] / "docs/how-to/test-your-topics.md"

PROJECT = {
    "settings.py": """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "holdfast", "chat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
""",
    "chat/__init__.py": "",
    "chat/models.py": """
from django.conf import settings
from django.db import models


class Membership(models.Model):
    room = models.CharField(max_length=50)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)


class Message(models.Model):
    room = models.CharField(max_length=50)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    body = models.TextField()
""",
    "chat/live.py": """
from typing import Annotated

from holdfast import Event, Keep, Topic, action
from msgspec import Meta

from chat.models import Membership, Message


class MessagePosted(Event):
    id: int
    author: str
    body: str


class Typing(Event, durable=False):
    author: str


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [MessagePosted, Typing]
    keep = Keep(days=30)

    def may_join(self, user):
        return user.is_authenticated and Membership.objects.filter(room=self.room, user=user).exists()

    @action(rate="5/s")
    def post(self, caller, body: Annotated[str, Meta(min_length=1)]) -> int:
        message = Message.objects.create(room=self.room, author=caller.user, body=body)
        self.publish(MessagePosted(message.pk, caller.user.username, body))
        return message.pk

    @action
    async def typing(self, caller):
        await self.apublish(Typing(caller.user.username), exclude=caller)
""",
    "pytest.ini": """
[pytest]
DJANGO_SETTINGS_MODULE = settings
pythonpath = .
python_files = tests.py test_*.py
filterwarnings = error
asyncio_default_fixture_loop_scope = function
""",
}

CONFTEST = """
import pytest
from django.contrib.auth.models import User


def member(name):
    from chat.models import Membership

    user = User.objects.create_user(name)
    Membership.objects.create(room="lobby", user=user)
    return user


@pytest.fixture
def ada(db):
    return member("ada")


@pytest.fixture
def grace(db):
    return member("grace")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    whole, dropping, in_async, plugin, functions, *_ = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    in_async = in_async.partition("\n")[2]  # goes on in the same class
    files = {
        **PROJECT,
        "chat/tests.py": whole.replace("import CallError", "import AsyncLiveClient, CallError")
        + indent(dropping, "    ")
        + in_async,
        "conftest.py": plugin + CONFTEST,
        "test_functions.py": "import pytest\nfrom django.contrib.auth.models import User\n\n\n" + functions,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(project: Path, *command: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "PYTEST_"))}
    ran = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_its_tests_pass_in_django(project: Path) -> None:
    assert "Ran 5 tests" in run(
        project, "-m", "django", "test", "--settings", "settings", "--pythonpath", "."
    )


def test_its_tests_pass_in_pytest(project: Path) -> None:
    assert "7 passed" in run(project, "-m", "pytest", "-q", "-o", "asyncio_mode=auto")


def test_its_tests_pass_without_pytest_asyncio(project: Path) -> None:
    text = (project / "pytest.ini").read_text().replace("asyncio_default_fixture_loop_scope = function\n", "")
    (project / "pytest.ini").write_text(text)
    assert "6 passed" in run(project, "-m", "pytest", "-q", "-p", "no:asyncio", "-k", "not in_async")
