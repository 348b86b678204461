"""Dramatiq: ``dramatiq tests.fleet.publishing.jobs.with_dramatiq``, and ``dramatiq-gevent``."""

import os

import django
import dramatiq
from dramatiq.brokers.redis import RedisBroker

from . import publish

dramatiq.set_broker(RedisBroker(url=os.environ["FLEET_REDIS"].replace("/0", "/1")))


@dramatiq.actor
def work(name: str) -> None:
    publish(name)


def send(name: str) -> None:
    work.send(name)


django.setup()
