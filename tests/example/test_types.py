"""Harbor's modules are checked against its topics: a misspelled name of the server's is an error of the compiler."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "example"
MODULE = EXAMPLE / "chat/static/chat/room.js"

MUTATIONS = {
    "event": ('topic.on("message.posted"', 'topic.on("message.postd"'),
    "field": ("({ author }) => typing.heardOf(author)", "({ auhtor }) => typing.heardOf(auhtor)"),
    "action": ('topic.send("typing", {})', 'topic.send("typng", {})'),
    "argument": ('"post", { body })', '"post", { bdy: body })'),
}


@pytest.mark.slow
def test_each_misspelling_in_a_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    text = MODULE.read_text()
    for name, (right, wrong) in MUTATIONS.items():
        assert right in text, f"{MODULE.name} has another {name} now: change the mutation"
        (tmp_path / f"chat/{name}.js").write_text(text.replace(right, wrong))
    (tmp_path / "chat/unchanged.js").write_text(text)
    options = {
        "extends": str(EXAMPLE / "jsconfig.json"),
        "compilerOptions": {
            "rootDirs": [str(tmp_path), *(str(path) for path in EXAMPLE.glob("*/static"))],
        },
        "include": ["chat/*.js", str(EXAMPLE / "topics.d.ts")],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(options))
    compiler = str(ROOT / "client/node_modules/typescript/bin/tsc")
    command = ["node", compiler, "--project", str(tmp_path), "--pretty", "false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    found = {line.partition("(")[0] for line in done.stdout.splitlines() if ": error " in line}
    assert found == {f"chat/{name}.js" for name in MUTATIONS}, done.stdout
