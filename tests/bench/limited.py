"""Settings of the bench's hall, with limits that its load meets."""

from bench.hall.settings import *  # noqa: F403 - the same server
from bench.hall.settings import HOLDFAST

HOLDFAST = {**HOLDFAST, "CALLS_PER_USER": 1}
