"""Harbor's own tests are where a project has them, in example/chat/tests. Here they run, on both databases."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "example"


def manage(*arguments: str, database: str, var: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HARBOR_", "DJANGO_"))},
        "HARBOR_DATABASE": database,
        "HARBOR_VAR": str(var),
        "PYTHONWARNINGS": "error",
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=EXAMPLE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """What HARBOR_DATABASE is set to."""
    if request.param == "sqlite":
        return str(tmp_path / "harbor.sqlite3")
    return request.getfixturevalue("postgres_dsn")


@pytest.mark.timeout(180)
@pytest.mark.slow
def test_harbors_own_tests_pass(where: str, tmp_path: Path) -> None:
    done = manage("test", "--noinput", database=where, var=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 0 tests" not in done.stderr


@pytest.mark.slow
def test_a_fresh_database_is_migrated_and_seeded_and_stays_so(where: str, tmp_path: Path) -> None:
    for arguments in [["migrate"], ["seed"], ["seed"], ["check"], ["makemigrations", "--check"]]:
        done = manage(*arguments, database=where, var=tmp_path)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"


def test_the_secret_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    key = ["shell", "-v", "0", "-c", "from django.conf import settings; print(settings.SECRET_KEY)"]
    one, other = (manage(*key, database=str(tmp_path / "db"), var=tmp_path).stdout for _ in range(2))
    assert len(one.strip()) >= 50
    assert one == other
    assert (tmp_path / "secret-key").stat().st_mode & 0o077 == 0
