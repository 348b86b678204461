"""MkDocs hook: makes the links of CHANGELOG.md and PROTOCOL.md work on the documentation site too.

Both files stand at the root of the repository, where their links lead to `docs/…`. The site includes them as pages of
`docs/`, where the same page is one folder nearer.
"""

import re
from typing import Any

#: Page of the site: the file of the repository's root that it includes.
ROOT_PAGES = {"changelog.md": "CHANGELOG.md", "protocol.md": "PROTOCOL.md"}

LINK = re.compile(r"(\]\()([^)\s]+)(\))")
INCLUDE = re.compile(r'^--8<-- "([A-Z]+\.md)"$', re.MULTILINE)


def on_page_markdown(markdown: str, /, *, page: Any, config: Any, files: Any) -> str:
    """Include the root file here, before MkDocs looks at the links, and point its links at the site's pages."""
    if page.file.src_uri not in ROOT_PAGES:
        return markdown
    base = config["config_file_path"].rpartition("/")[0]

    def included(found: re.Match[str]) -> str:
        with open(f"{base}/{found[1]}", encoding="utf-8") as file:  # noqa: PTH123 - MkDocs hands out strings
            return LINK.sub(_on_site, file.read())

    return INCLUDE.sub(included, markdown)


def _on_site(link: re.Match[str]) -> str:
    target = link[2]
    for page, source in ROOT_PAGES.items():
        if target == source or target.startswith(f"{source}#"):
            target = page + target.removeprefix(source)
    return link[1] + target.removeprefix("docs/") + link[3]
