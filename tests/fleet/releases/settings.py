"""The fleet's settings, with the release that ``FLEET_RELEASE`` names."""

import os

from tests.fleet.project.settings import *  # noqa: F403
from tests.fleet.project.settings import INSTALLED_APPS as FLEETS

INSTALLED_APPS = [*FLEETS, f"tests.fleet.releases.{os.environ['FLEET_RELEASE']}"]
