"""The distribution of the tests among the workers of pytest."""

from typing import Any

import pytest

from tests.distribution import ByFileOrServer

FILE = "tests/asgi_servers/test_bad_messages.py"


@pytest.mark.parametrize(
    ("test", "unit"),
    [
        (f"{FILE}::test_a[daphne]", "tests/asgi_servers on daphne"),
        (f"{FILE}::test_a[daphne-bytes that are not JSON]", "tests/asgi_servers on daphne"),
        ("tests/asgi_servers/test_limits.py::test_b[holdfast-asgi]", "tests/asgi_servers on holdfast-asgi"),
        (f"{FILE}::test_c[holdfast.v1.json-uvicorn-sansio]", "tests/asgi_servers on uvicorn-sansio"),
        (f"{FILE}::test_c[holdfast.v1.json]", FILE),
        (f"{FILE}::test_d", FILE),
        ("tests/log/test_memory.py::test_e[holdfast]", "tests/log/test_memory.py"),
    ],
)
def test_the_tests_of_a_server_are_one_unit_and_those_of_a_file_another(
    test: str, unit: str, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_workers: Any = lambda self, config, log=None: None  # noqa: E731
    monkeypatch.setattr(ByFileOrServer, "__init__", no_workers)
    assert ByFileOrServer(pytestconfig)._split_scope(test) == unit
