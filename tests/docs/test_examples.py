"""Examples of the how-to pages that no other test runs."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import signing

from holdfast import conf, wiring

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^( *)```python[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[str]:
    return [code for _, code in BLOCK.findall(page.read_text())]


ROOMS = sorted((PAGES.parents[1] / "example").glob("*/live.py"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.parent.name)
def test_a_how_to_shows_the_live_part_of_each_room_of_harbor(room: Path) -> None:
    shown = f'--8<-- "example/{room.parent.name}/live.py"'
    assert [page.name for page in PAGES.glob("*.md") if shown in page.read_text()]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.parent.name)
def test_the_live_part_of_a_room_is_short(room: Path) -> None:
    assert len([line for line in room.read_text().splitlines() if line.strip()]) < 80


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_each_python_example_can_be_parsed(page: Path) -> None:
    for code in blocks(page):
        entry = code.lstrip().startswith('"')  # of a dict that the text names
        ast.parse(f"{{{code}}}" if entry else code)


def test_the_authenticators_of_the_page_about_authentication_can_be_built() -> None:
    built = []
    for code in blocks(PAGES / "authentication.md"):
        if "HOLDFAST" not in code or ("holdfast.auth" not in code and '"ticket"' not in code):
            continue
        module: dict[str, Any] = {}
        exec(compile(code, "settings.py", "exec"), module)
        chosen, problems = conf.read(module["HOLDFAST"])
        assert problems == []
        authenticator = wiring.build_authenticator(chosen)
        assert authenticator.check() == []
        built.append(type(authenticator).__name__)
    assert built == ["AuthenticatorChain"] * 3


@pytest.mark.django_db
def test_the_tokens_of_the_page_about_authentication_belong_to_their_users_only() -> None:
    (code,) = (code for code in blocks(PAGES / "authentication.md") if "# accounts/tokens.py" in code)
    module: dict[str, Any] = {}
    exec(compile(code, "tokens.py", "exec"), module)
    ada = get_user_model().objects.create(username="ada")
    token = module["issue"](ada)
    assert module["user"](token) == ada
    with pytest.raises(signing.BadSignature):
        module["user"](token[:-1] + ("a" if token[-1] != "a" else "b"))
    get_user_model().objects.update(is_active=False)
    assert module["user"](token) is None
