"""The transports that the suite runs over."""

import pytest

from .carriers import CARRIERS, Carrier


@pytest.fixture(params=CARRIERS, ids=lambda carrier: carrier.__name__)
def carrier(request: pytest.FixtureRequest) -> type[Carrier]:
    found: type[Carrier] = request.param
    return found
