"""Effort of the property tests: `pytest --hypothesis-profile=long tests/guarantees`, or HOLDFAST_PROPERTIES=long.

When one fails, Hypothesis prints the shortest story that it found, and the seed to run it again with.
"""

import os

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
}
settings.register_profile("quick", max_examples=40, **_COMMON)  # type: ignore[arg-type]
settings.register_profile("long", max_examples=3000, **_COMMON)  # type: ignore[arg-type]

#: Settings for the property tests of this directory, unless another profile was chosen on the command line.
PROFILE = settings.get_profile(os.environ.get("HOLDFAST_PROPERTIES", "quick"))
