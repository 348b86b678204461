"""The description of the HTTP endpoints, held against a real server by generated requests, good and bad."""

from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from .servers import PUBLISHING_SECRETS, SERVERS, Running

DESCRIPTION = Path(__file__).parents[2] / "docs/reference/openapi.yaml"

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
]
SECONDS = 2.0

described = schemathesis.openapi.from_path(DESCRIPTION)


OURS = [kind for kind in SERVERS if kind.name == "holdfast"]
ON_OURS = pytest.mark.parametrize("server", OURS, indirect=True, ids=["holdfast"])
FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def requests_to(path: str) -> Any:
    """Return the strategy of requests to a path, those that fit the description and those that do not."""
    (operation,) = described.include(path=path).get_all_operations()
    return operation.ok().as_strategy()


@ON_OURS
@pytest.mark.parametrize(
    "path", ["/live/ready", "/live/poll", "/live/history", "/live/call", "/live/publish", "/live/ticket"]
)
def test_every_answer_is_one_that_the_description_names(server: Running, path: str) -> None:
    secret = {"Authorization": f"Bearer {PUBLISHING_SECRETS['shop']}"} if path == "/live/publish" else {}

    @FEW
    @given(case=requests_to(path))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=server.origin, headers=secret, timeout=SECONDS, checks=CHECKS)

    check()


@ON_OURS
def test_every_stream_begins_as_the_description_says(server: Running) -> None:
    @FEW
    @given(case=requests_to("/live/sse"))
    def check(case: schemathesis.Case) -> None:
        sent = case.as_transport_kwargs(base_url=server.origin)
        with requests.request(**sent, stream=True, timeout=SECONDS) as response:
            kind = response.headers["content-type"].partition(";")[0]
            assert (response.status_code, kind) in {
                (200, "text/event-stream"),
                (400, "text/plain"),
                (405, "text/plain"),
            }

    check()


@pytest.mark.parametrize("guarded", OURS, indirect=True, ids=["holdfast"])
@pytest.mark.parametrize(
    "topics", [[], ["rooms/a", "rooms/b"], ["no/such/topic"]], ids=["any", "some", "none such"]
)
def test_tickets_are_issued_as_the_description_says(guarded: Running, topics: list[str]) -> None:
    secret = "x" * 32
    headers = {
        "Cookie": f"{guarded.users['ada'].cookie}; csrftoken={secret}",
        "X-CSRFToken": secret,
        "Origin": guarded.origin,
    }
    url, form = f"{guarded.origin}/live/ticket", [("topics", topic) for topic in topics]
    answer = requests.post(url, data=form, headers=headers, timeout=10)
    assert answer.status_code == (400 if topics == ["no/such/topic"] else 200)
    described["/live/ticket"]["POST"].validate_response(answer)
