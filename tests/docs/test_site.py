"""The documentation site, built as `scripts/check docs` builds it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the sources of the site, for tests that change them."""
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "CHANGELOG.md", "PROTOCOL.md", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "src").symlink_to(ROOT / "src")  # the reference is made from the docstrings
    (tmp_path / "example").symlink_to(ROOT / "example")  # some pages include its code
    (tmp_path / "client").mkdir()
    shutil.copy(ROOT / "client" / "README.md", tmp_path / "client")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def build(copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/docs", "build", str(copy / "site")],
        cwd=copy,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_site_builds_without_a_warning_and_the_changelog_leads_to_its_pages(copy: Path) -> None:
    with (copy / "CHANGELOG.md").open("a") as changelog:
        changelog.write("\n[protocol](PROTOCOL.md) [how](docs/how-to/redis.md)\n")
    done = build(copy)
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout
    page = (copy / "site" / "changelog" / "index.html").read_text()
    assert 'href="../protocol/"' in page
    assert 'href="../how-to/redis/"' in page


def test_each_dead_link_is_a_warning_and_fails_the_check(copy: Path) -> None:
    with (copy / "docs" / "index.md").open("a") as page:
        page.write("\n[gone](no-such-page.md) [gone](errors.md#no-such-heading)\n")
    done = build(copy)
    assert done.returncode != 0
    warnings = [line for line in done.stdout.splitlines() if line.startswith(("WARNING", "ERROR"))]
    for link in ("no-such-page.md", "no-such-heading"):
        assert any(link in line for line in warnings), done.stdout
