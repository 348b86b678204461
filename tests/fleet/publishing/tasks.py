"""A Celery worker of the fleet's project: each task publishes into one room."""

import os
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.fleet.project.settings")
django.setup()

from celery import Celery, signals  # noqa: E402
from django.db import transaction  # noqa: E402

from tests.fleet.project.live import Room, Said, Shouted  # noqa: E402
from tests.fleet.project.models import Fact  # noqa: E402

app = Celery("publishing", broker=os.environ["FLEET_REDIS"].replace("/0", "/1"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)

ROOM = Room(room="tasks")


@signals.worker_init.connect
def publish_before_the_fork(**_: object) -> None:
    """Publish, so that the parent has a connection of each kind and a thread that sends when it forks its pool."""
    ROOM.publish(Shouted("parent", time.monotonic()))


@app.task
def shout(value: str) -> None:
    ROOM.publish(Shouted(value, time.monotonic()))


@app.task
def say(value: str, fail: bool = False) -> None:
    """Publish in a transaction, with a row."""
    with transaction.atomic():
        Fact.objects.create(topic=ROOM.name, value=value)
        ROOM.publish(Said(value, time.monotonic()))
        if fail:
            raise RuntimeError("this transaction rolls back")


@app.task(bind=True)
def die_once(self: object, value: str, marker: str) -> None:
    """The first attempt publishes, and its process dies before the task is acknowledged: it is carried out again."""
    with transaction.atomic():
        _, made = Fact.objects.get_or_create(topic=ROOM.name, value=value)
        if made:
            ROOM.publish(Said(value, time.monotonic()))
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), 9)
