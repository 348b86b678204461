"""Files that scripts/release writes. `scripts/check release` tests that it builds, installs and packs."""

import datetime as dt
import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "release"
DAY = dt.date(2027, 3, 1)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("release", str(SCRIPT))
    spec = importlib.util.spec_from_loader("release", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_unreleased_changes_get_the_version_and_the_date(release: ModuleType) -> None:
    before = "# Changelog\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## 0.1.0 (2027-01-01)\n"
    assert release.dated(before, "0.2.0", DAY) == (
        "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2027-03-01)\n\n### Added\n\n- A thing.\n\n## 0.1.0 (2027-01-01)\n"
    )


def test_a_release_without_changes_is_refused(release: ModuleType) -> None:
    with pytest.raises(SystemExit, match="nothing under"):
        release.dated("# Changelog\n\n## Unreleased\n\n## 0.1.0 (2027-01-01)\n\n- A thing.\n", "0.2.0", DAY)


@pytest.mark.parametrize("text", ["0.2.0", "1.0.0rc1", "12.0.3b2"])
def test_versions_that_pip_and_npm_both_know_are_accepted(release: ModuleType, text: str) -> None:
    assert release.VERSION.fullmatch(text)


@pytest.mark.parametrize("text", ["0.2", "v0.2.0", "1.0.0.dev1", "latest"])
def test_other_versions_are_refused(release: ModuleType, text: str) -> None:
    assert release.VERSION.fullmatch(text) is None
