"""Celery: ``celery -A tests.fleet.publishing.jobs.with_celery worker``, with any pool."""

import os
from typing import Any

from celery import Celery

from . import publish

app = Celery("jobs", broker=os.environ["FLEET_REDIS"].replace("/0", "/1"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
app.set_default()  # its support for Django closes database connections after each task
app.loader.import_default_modules()


@app.task
def work(name: str) -> None:
    publish(name)


def send(name: str, **options: Any) -> None:
    work.apply_async([name], **options)
