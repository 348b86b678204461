"""Huey: ``huey_consumer tests.fleet.publishing.jobs.with_huey.huey``, with any kind of worker."""

import os

import django
from huey import RedisHuey

from . import publish

huey = RedisHuey("jobs", url=os.environ["FLEET_REDIS"].replace("/0", "/1"), results=False)


@huey.task()  # type: ignore[untyped-decorator]
def work(name: str) -> None:
    publish(name)


def send(name: str) -> None:
    work(name)


django.setup()
