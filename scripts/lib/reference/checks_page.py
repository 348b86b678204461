"""The list of system checks, from the code; the way out of each is written by hand in `docs/errors.md`."""

import re

from . import inventory

HEAD = """\
# System checks

`manage.py check`, `runserver`, `migrate` and most other commands report them. An error stops the command. A warning does not,
and `SILENCED_SYSTEM_CHECKS = ["holdfast.W002"]` silences it. `manage.py check --tag holdfast` runs only these;
`--database default` adds those that look into the database, and `--deploy` reports under `DEBUG` also what concerns only production
(W005, W008, W009).

| id | level | is about |
|---|---|---|
"""

SECTION = re.compile(r"^### ([EWI]\d{3}): (.+?) \{ #holdfast\.\1 \}$", re.MULTILINE)


def text() -> str:
    titles = sections()
    rows = [
        f"| [`{check.id}`](../errors.md#{check.id}) | {check.level} | {titles.get(check.id, '')} |\n"
        for check in inventory.checks()
    ]
    return HEAD + "".join(rows)


def sections() -> dict[str, str]:
    """The title of each check's section in `docs/errors.md`."""
    written = (inventory.ROOT / "docs" / "errors.md").read_text()
    return {f"holdfast.{name}": title for name, title in SECTION.findall(written)}
