"""The Python client plays every scenario of ``conformance/behaviour`` that it has the features for."""

import pytest

from .behaviour import Scenario, play, scenarios

FEATURES = frozenset(
    {
        "http-status",
        "joins-from-now",
        "limited-calls-repeated",
        "refresh",
    }
)
"""Features of this client that a scenario may need (conformance/behaviour/README.md)."""

SCENARIOS = scenarios()
PLAYED = [scenario for scenario in SCENARIOS if FEATURES.issuperset(scenario.get("needs", []))]


@pytest.mark.parametrize("scenario", [pytest.param(scenario, id=scenario["name"]) for scenario in PLAYED])
def test_the_client_does_what_the_scenario_says(scenario: Scenario) -> None:
    play(scenario)


def test_every_scenario_has_a_name_of_its_own() -> None:
    names = [scenario["name"] for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
