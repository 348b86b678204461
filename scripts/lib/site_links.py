"""MkDocs hook: puts files from outside of docs/ into the site, with links that work there.

CHANGELOG.md, PROTOCOL.md and client/README.md stand where readers of the repository look for them. A page of `docs/`
includes each of them by a line of its own, `--8<-- "PROTOCOL.md"`.
"""

import posixpath
import re
from typing import Any

#: File of the repository: the page of the site that shows it.
SHOWN_AS = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "PROTOCOL.md": "protocol.md",
    "client/README.md": "reference/client.md",
}

LINK = re.compile(r"(\]\()([^)\s]+)(\))")
INCLUDE = re.compile(r'^--8<-- "([\w/]+\.md)"$', re.MULTILINE)
TITLE = re.compile(r"\A# .*\n+")


def on_page_markdown(markdown: str, /, *, page: Any, config: Any, files: Any) -> str:
    """Include the files here, before MkDocs looks at the links, and point their links at the site's pages."""
    base, here = config["config_file_path"].rpartition("/")[0], page.file.src_uri

    def included(found: re.Match[str]) -> str:
        source = found[1]
        with open(f"{base}/{source}", encoding="utf-8") as file:  # noqa: PTH123 - MkDocs hands out strings
            text = file.read()
        if found.start():  # the page has a title of its own
            text = TITLE.sub("", text)
        return LINK.sub(lambda link: link[1] + _on_site(link[2], source, here) + link[3], text)

    return INCLUDE.sub(included, markdown)


def _on_site(target: str, source: str, page: str) -> str:
    """Return the target of a file's link, as seen from a page of the site."""
    path, mark, anchor = target.partition("#")
    if not path or ":" in path:
        return target
    named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    shown = SHOWN_AS.get(named) or (named.removeprefix("docs/") if named.startswith("docs/") else None)
    if shown is None:
        return target
    return posixpath.relpath(shown, posixpath.dirname(page) or ".") + mark + anchor
