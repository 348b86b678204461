"""RQ: each job in a child of the worker, which ends by ``os._exit``.

``rq worker``, with this module as its configuration, sets Django up in each child;
``python -m tests.fleet.publishing.jobs.with_rq`` in the worker, which publishes before it forks.
"""

import os
import time

import django
import redis
import rq

from . import publish

REDIS_URL = os.environ["FLEET_REDIS"].replace("/0", "/1")  # as RQ's own setting
CONNECTION = redis.Redis.from_url(REDIS_URL)


def work(name: str) -> None:
    django.setup()
    publish(name)


def send(name: str) -> None:
    rq.Queue(connection=CONNECTION).enqueue("tests.fleet.publishing.jobs.with_rq.work", name)


if __name__ == "__main__":
    django.setup()
    from tests.fleet.project.live import Room, Shouted

    Room(room="parent").publish(Shouted("parent", time.monotonic()))
    rq.Worker(["default"], connection=CONNECTION).work()
