"""The tables of the fleet's project, made once for each PostgreSQL server: a database that is copied."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.services.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
NAME = "fleet_tables"


def environment_for(database: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process that runs the fleet's project on this database."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.fleet.project.settings",
        "FLEET_DATABASE": json.dumps(database),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


def make_tables(postgres: PostgresServer) -> str:
    """Create a database with the tables; its name, for `create_database(template=…)`."""
    postgres.create_database(NAME)
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v", "0", "--run-syncdb"],
        env=environment_for(postgres.django(NAME)) | {"FLEET_BACKPLANE": "none"},
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    return NAME
