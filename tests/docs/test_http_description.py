"""The description of the HTTP endpoints, held to the endpoints that there are."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import override_settings
from django.urls import reverse

from holdfast.transports.http_errors import STATUS

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "PROTOCOL.md").read_text()
OPENAPI = yaml.safe_load((ROOT / "docs/reference/openapi.yaml").read_text())
PAGE = (ROOT / "docs/reference/http.md").read_text()

DESCRIBED = {(method.upper(), path) for path, methods in OPENAPI["paths"].items() for method in methods}


@override_settings(ROOT_URLCONF="tests.auth.ticket_urls")
def test_each_endpoint_is_described() -> None:
    from holdfast.asgi import answering_readiness

    async def django(*_: Any) -> None:
        raise AssertionError

    application: Any = answering_readiness(django)
    answered = {application._path, *application._others, reverse("holdfast:ticket")}
    assert {path for _, path in DESCRIBED} == answered


@pytest.mark.parametrize("text", [PROTOCOL, PAGE], ids=["PROTOCOL.md", "http.md"])
def test_the_tables_list_the_endpoints_of_the_description(text: str) -> None:
    assert set(re.findall(r"^\| `([A-Z]+) (/live/\w+)`", text, re.MULTILINE)) == DESCRIBED


def test_the_protocol_lists_the_status_of_each_code() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (`.+`) \|$", PROTOCOL, re.MULTILINE)
    assert {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)} == STATUS
