"""Docstrings as Markdown."""

import inspect
import re

#: The role is left out and the name kept: :meth:`~Topic.publish` becomes `Topic.publish`.
ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
PAGE = re.compile(r"(?<![\w(/])`?docs/([\w/-]+)\.md`?")
HTML = re.compile(r"\{%|<script")
CODE = re.compile(r"\bdef |\bimport |\bclass |\bwith |\bfor |[\w.]+\(|[\w\]\"]+ = |^@", re.MULTILINE)


def markdown(docstring: str | None, root: str = "..") -> str:
    """The docstring as Markdown for a page from which ``docs/`` is at ``root``."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    written: list[str] = []
    while lines:
        line = lines.pop(0)
        if not line.rstrip().endswith("::"):
            written.append(_inline(line, root))
            continue
        opening = line.rstrip()[:-2].rstrip()
        if opening:
            written += [_inline(f"{opening}:", root), ""]
        written += _block(lines)
    return "\n".join(written).strip()


def _block(lines: list[str]) -> list[str]:
    """Take the indented block that follows off the lines, as a fenced one."""
    block: list[str] = []
    while lines and (not lines[0].strip() or lines[0].startswith(" ")):
        block.append(lines.pop(0))
    code = inspect.cleandoc("\n".join(block))
    return [f"```{_language(code)}", code, "```", ""]


def _language(code: str) -> str:
    if HTML.search(code):
        return "html"
    return "python" if CODE.search(code) else "text"


def _inline(line: str, root: str) -> str:
    line = ROLE.sub(r"`\1`", line).replace("``", "`")
    return PAGE.sub(
        lambda found: f"[{found[1].rpartition('/')[2].replace('-', ' ')}]({root}/{found[1]}.md)", line
    )
