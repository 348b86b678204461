"""The ACL line that users copy: all stores of Holdfast work with it, and few other commands do."""

import os
import re
import subprocess
import sys

import pytest
import redis.exceptions

from tests.asgi_servers.servers import ROOT
from tests.services.redis import RedisServer

PAGE = ROOT / "docs" / "how-to" / "redis.md"


def rules() -> str:
    """The rules of the line, without the user's name and password."""
    [line] = re.findall(r"^ACL SETUSER holdfast on >PASSWORD (.+)$", PAGE.read_text(), re.MULTILINE)
    return str(line)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("suite", "which"),
    [
        ("tests/limits/test_redis.py", "not away"),
        ("tests/presence/test_contract.py", "redis and not cluster"),
        ("tests/backplane/test_contract.py", "redis and not cluster and not channels"),
        ("tests/log/test_redis.py", "not cluster and not own_redis"),
    ],
)
def test_each_part_works_as_that_user(suite: str, which: str) -> None:
    command = [sys.executable, "-m", "pytest", suite, "-q", "-x", "-k", which, "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"HOLDFAST_REDIS_ACL": rules()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_that_user_reaches_no_other_keys_and_no_dangerous_command(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules().split())
        client.execute_command("AUTH", "limited", "secret")
        client.set("holdfast:x", 1)
        for command in (
            ["GET", "session:1"],
            ["FLUSHALL"],
            ["CONFIG", "GET", "*"],
            ["KEYS", "*"],
            ["PUBLISH", "c", "x"],
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
