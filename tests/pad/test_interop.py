"""The provider of the browser client and pycrdt, through a real server."""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycrdt
import pytest

import holdfast
from holdfast.testing.live_server import LiveSite
from holdfast.topics.registry import registry
from tests.pad.documents import Pad
from tests.services.processes import find_program

PACKAGE = Path(holdfast.__file__).parent
PLANS = Pad(pad="plans")


class OpenPad(Pad):
    document_bytes = 700_000

    def may_join(self, user: Any) -> bool:
        return True

    def may_write(self, user: Any) -> bool:
        return True


@pytest.fixture
def open_pad() -> Iterator[None]:
    with registry.override([OpenPad]):
        yield


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """The modules as Django serves them, in a place where Node finds Yjs by its name."""
    for name in ("holdfast.js", "yjs.js"):
        shutil.copy(PACKAGE / "static/holdfast" / name, tmp_path)
    shutil.copy(Path(__file__).parent / "editors.mjs", tmp_path)
    yjs = tmp_path / "node_modules/yjs"
    yjs.mkdir(parents=True)
    shutil.copy(PACKAGE / "pad/static/holdfast/vendor/yjs.js", yjs / "index.js")
    for directory in (tmp_path, yjs):
        (directory / "package.json").write_text('{"type": "module", "main": "index.js"}')
    return tmp_path


@pytest.mark.slow
def test_pages_and_python_end_with_the_same_text(open_pad: None, live_site: LiveSite, modules: Path) -> None:
    seed = random.randrange(2**31)
    node = find_program("node", package="nodejs")
    url = f"{live_site.url.replace('http', 'ws')}/live/ws"
    command = [node, "--experimental-websocket", modules / "editors.mjs", url, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as editors:
        for number in range(10):
            with OpenPad(pad="plans").edit() as doc:
                doc.get("text", type=pycrdt.Text).insert(0, f"python{number}🌊 ")
            time.sleep(0.1)
        out, complaints = editors.communicate(timeout=50)
    assert editors.returncode == 0, f"seed {seed}: {complaints}"
    texts = json.loads(out)
    assert texts == [OpenPad(pad="plans").text()] * 3, f"seed {seed}"
    assert "long " * 9_000 in texts[0]
    assert "\ufffd" not in texts[0]
