"""The reference on the site, held to the code by `scripts/reference` and `scripts/generate --check`."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = Path("src/holdfast")

FORMATS = pytest.mark.skipif(
    find_spec("ruff") is None,
    reason="scripts/generate formats with ruff, which scripts/matrix does not install",
)


def copied(folder: Path) -> Path:
    """Code and documentation, to be changed. The compiled modules come along: they are current as long as the source is."""
    for name in ("conformance", "docs", "scripts", "src"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "example", folder / "example", ignore=shutil.ignore_patterns("var"))
    (folder / "client" / "src").mkdir(parents=True)
    (folder / "tests" / "asgi_servers").mkdir(parents=True)
    single = ["pyproject.toml", "mkdocs.yml", "PROTOCOL.md", "client/src/texts.ts", "client/src/codes.ts"]
    for name in (*single, "tests/asgi_servers/ways.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copied(tmp_path)


def run(copy: Path, script: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(copy / "scripts" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def append(copy: Path, name: str, text: str) -> None:
    (path,) = copy.glob(name)
    path.write_text(path.read_text() + text)


def replace(copy: Path, name: str, old: str, new: str) -> None:
    text = (copy / name).read_text()
    assert old in text
    (copy / name).write_text(text.replace(old, new, 1))


PROPERTY = "    @property\n"  # the first thing in the class of the settings that is no setting
NEW_SETTING = f'    brand_new: int = 1\n    """One more."""\n\n{PROPERTY}'
NEW_NAME = '\n_DEFINED_IN["Mode"] = "holdfast.topics.declaration"\n__all__ += ["Mode"]\n'
NEW_TAG = '\n\n@register.simple_tag\ndef brand_new() -> str:\n    """A tag."""\n    return ""\n'
NEW_CHECK = '\n\ndef brand_new() -> None:\n    Error("…", id="holdfast.E099")\n'


def test_everything_is_documented(copy: Path) -> None:
    assert run(copy, "reference") == (0, "")


@pytest.fixture(scope="module")
def said_of_additions(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output for code with one more thing of each kind."""
    copy = copied(tmp_path_factory.mktemp("additions"))
    replace(copy, "src/holdfast/conf.py", PROPERTY, NEW_SETTING)
    append(copy, "src/holdfast/__init__.py", NEW_NAME)
    append(copy, "src/holdfast/templatetags/[!_]*.py", NEW_TAG)
    append(copy, "src/holdfast/protocol/codes.py", '\n_code("brand_new", "New.")\n')
    append(copy, "src/holdfast/checks.py", NEW_CHECK)
    option = 'trim.add_argument("--brand-new"); trim.add_argument('
    replace(copy, "src/holdfast/management/commands/holdfast.py", "trim.add_argument(", option)
    status, output = run(copy, "reference")
    assert status == 1
    return output


@pytest.mark.parametrize(
    "said",
    [
        "docs/reference/settings.md: the setting BRAND_NEW is missing",
        "docs/reference/python.md: holdfast.Mode is missing",
        "docs/reference/commands.md: --brand-new of manage.py holdfast trim is missing",
        "--brand-new of manage.py holdfast trim has no help",
        "docs/reference/template-tags.md: the template tag brand_new is missing",
        "docs/reference/codes.md: the code brand_new is missing",
        "docs/errors.md: the system check holdfast.E099 is missing",
    ],
)
def test_what_is_not_documented_is_found(said_of_additions: str, said: str) -> None:
    assert said in said_of_additions.splitlines()


@pytest.fixture(scope="module")
def said_of_removals(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output for documentation of things that the code does not have."""
    copy = copied(tmp_path_factory.mktemp("removals"))
    replace(copy, "docs/reference/settings.md", "{ #ORIGINS }", "{ #ORIGINZ }")
    replace(copy, "docs/reference/python.md", "{ #holdfast.Topic }", "{ #holdfast.Topik }")
    title = "### E001: an unknown setting { #holdfast.E001 }"
    replace(copy, "docs/errors.md", title, "### E098: gone { #holdfast.E098 }")
    replace(copy, "PROTOCOL.md", "| 4001 | `heartbeat_missed` |", "| 4001 | `stalled` |")
    status, output = run(copy, "reference")
    assert status == 1
    return output


@pytest.mark.parametrize(
    "said",
    [
        "docs/reference/settings.md: there is no setting ORIGINZ any more",
        "docs/reference/python.md: there is no holdfast.Topik",
        "docs/errors.md: there is no system check holdfast.E098 any more",
        "PROTOCOL.md: the close code 4001 is stalled there, and heartbeat_missed in protocol/codes.py",
    ],
)
def test_what_is_documented_and_gone_is_found(said_of_removals: str, said: str) -> None:
    assert said in said_of_removals.splitlines()


def test_what_only_holdfast_itself_uses_is_left_out() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    for name in (
        "Topic.from_match",
        "Slow.key_of",
        "Keep.before",
        "testing.Live.held_back",
        "testing.CallError.of",
    ):
        assert f"#holdfast.{name} " not in page
    assert "class CallError(LiveError)" in page  # only Holdfast makes one
    assert "\nTopic(**parameters: Any) -> None\n" in page
    assert ": Never" not in page


@FORMATS
def test_a_setting_without_a_docstring_is_found(copy: Path) -> None:
    replace(copy, "src/holdfast/conf.py", PROPERTY, f"    brand_new: int = 1\n\n{PROPERTY}")
    assert run(copy, "generate")[0] == 0
    assert run(copy, "reference") == (1, "src/holdfast/conf.py: the setting BRAND_NEW has no docstring\n")


@FORMATS
def test_pages_that_are_not_current_are_found_and_written(copy: Path) -> None:
    replace(copy, "src/holdfast/conf.py", PROPERTY, NEW_SETTING)
    status, output = run(copy, "generate", "--check")
    assert (status, output) == (1, "docs/reference/settings.md is not current: run scripts/generate\n")
    assert run(copy, "generate") == (0, "wrote docs/reference/settings.md\n")
    assert run(copy, "generate", "--check") == (0, "")
    assert "## `BRAND_NEW`" in (copy / "docs/reference/settings.md").read_text()


@FORMATS
def test_the_live_client_follows_the_asynchronous_one(copy: Path) -> None:
    replace(copy, "src/holdfast/testing/client_methods.py", "async def stall(self)", "async def freeze(self)")
    assert "sync_methods.py is not current" in run(copy, "generate", "--check")[1]
    assert run(copy, "generate")[0] == 0
    written = (copy / "src/holdfast/testing/sync_methods.py").read_text()
    assert "    def freeze(self) -> None:\n" in written
    assert "        self._run(self._client.freeze())\n" in written
