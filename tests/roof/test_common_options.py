"""manage.py holdfast: Django's own options, in front of the subcommand and behind it."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, load_command_class

from tests.services.processes import Server, free_port

COMMANDS = ["serve", "topics", "trim", "sweep", "renew-epochs", "schema"]

# What every command of Django's takes, and what it is if it is not given.
COMMON: list[tuple[list[str], str, Any, Any]] = [
    (["--settings", "site.settings"], "settings", "site.settings", None),
    (["--settings=site.settings"], "settings", "site.settings", None),
    (["--pythonpath", "/srv/app"], "pythonpath", "/srv/app", None),
    (["--traceback"], "traceback", True, False),
    (["--no-color"], "no_color", True, False),
    (["--force-color"], "force_color", True, False),
    (["--skip-checks"], "skip_checks", True, False),
    (["-v", "2"], "verbosity", 2, 1),
    (["--verbosity", "0"], "verbosity", 0, 1),
]


def parsed(*arguments: str) -> dict[str, Any]:
    parser = load_command_class("holdfast", "holdfast").create_parser("manage.py", "holdfast")
    return vars(parser.parse_args(arguments))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("option", "name", "value", "default"), COMMON, ids=lambda given: str(given))
def test_every_common_option_may_stand_on_either_side(
    command: str, option: list[str], name: str, value: Any, default: Any
) -> None:
    assert parsed(command, *option)[name] == value
    assert parsed(*option, command)[name] == value
    assert parsed(command)[name] == default


def test_there_is_no_common_option_that_a_subcommand_does_not_take() -> None:
    parser = load_command_class("holdfast", "holdfast").create_parser("manage.py", "holdfast")
    common = {text for action in parser._actions for text in action.option_strings}
    [commands] = [action.choices for action in parser._actions if action.dest == "command"]
    assert isinstance(commands, dict)
    assert set(commands) == set(COMMANDS)
    for command in commands.values():
        assert common <= {text for action in command._actions for text in action.option_strings}


def test_an_option_behind_the_subcommand_overrides_one_in_front_of_it() -> None:
    assert parsed("--settings", "one", "serve", "--settings", "two")["settings"] == "two"
    assert parsed("-v", "3", "trim", "-v", "0", "--dry-run")["verbosity"] == 0


def test_call_command_accepts_the_common_options_too(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("holdfast", "topics", "--no-color", verbosity=0)
    assert capsys.readouterr().out.startswith("route")


# ── as real processes ────────────────────────────────────────────────────────────────────────────────────────────────

SETTINGS = """
SECRET_KEY = "x"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls_of_a_site"
INSTALLED_APPS = ["holdfast", "news", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
HOLDFAST = {"PATH": "site/", "BACKPLANE": "memory", "DRAIN_SECONDS": 0}
"""
URLS = """
import os
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(f"{settings.HOLDFAST['PATH']} {os.getpid()}"))]
"""
LIVE = """
from holdfast import Topic

class News(Topic):
    route = "news"

    def may_join(self, user):
        return True
"""

GIVEN = ["--settings", "settings_of_a_site", "--pythonpath"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "code" / "news").mkdir(parents=True)
    (tmp_path / "code" / "news" / "__init__.py").touch()
    (tmp_path / "code" / "news" / "live.py").write_text(LIVE)
    (tmp_path / "code" / "settings_of_a_site.py").write_text(SETTINGS)
    (tmp_path / "code" / "urls_of_a_site.py").write_text(URLS)
    return tmp_path


def environment() -> dict[str, str]:
    """An environment that does not name the settings."""
    ours = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")
    return {
        **{name: value for name, value in os.environ.items() if name not in ours},
        "PYTHONUNBUFFERED": "1",
    }


def manage(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments, *GIVEN, str(site / "code")],
        cwd=site,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_settings_are_named_behind_every_subcommand(site: Path) -> None:
    assert manage(site, "migrate").returncode == 0
    for command, says in (
        ("topics", "news.live.News"),
        ("trim", "Deleted 0 events"),
        ("sweep", "Delivered 0 events"),
        ("renew-epochs", "Renewed the epochs of 0 topics"),
    ):
        ran = manage(site, "holdfast", command)
        assert ran.returncode == 0, ran.stderr
        assert says in ran.stdout


@pytest.fixture
def served(site: Path) -> Iterator[tuple[Server, int]]:
    port, output = free_port(), site / "output"
    command = [sys.executable, "-m", "django", "holdfast", "serve", "--port", str(port), "--workers", "1"]
    assert manage(site, "migrate").returncode == 0
    with output.open("wb") as log:
        process = subprocess.Popen(
            [*command, *GIVEN, "code", "--force-color"],
            cwd=site,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(name="serve", process=process, log=output)
    server.wait_until(lambda: answer(port) is not None)
    yield server, port
    server.stop()


def answer(port: int) -> list[str] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            return str(response.read().decode()).split()
    except (urllib.error.URLError, OSError):
        return None


@pytest.mark.slow
def test_workers_get_the_common_options_and_so_do_their_replacements(served: tuple[Server, int]) -> None:
    server, port = served
    first = answer(port)
    assert first is not None
    assert first[0] == "site/"
    server.process.send_signal(signal.SIGHUP)
    server.wait_until(lambda: (answer(port) or first)[1] != first[1])
    assert (answer(port) or [""])[0] == "site/"
    output = server.output()
    assert "live topics at /site/ws" in output
    assert re.search(r"\x1b\[32mINFO", output), "--force-color"
    assert "Traceback" not in output
