"""Packing and shipping take a while, so they happen in the background: in a Celery worker, or in a thread where there is none."""

import threading
import time

from django.conf import settings
from django.db import close_old_connections, transaction

from orders.models import State, advance

PACKING_SECONDS = 2.0
BROKER = getattr(settings, "CELERY_BROKER_URL", None)

if BROKER:
    from harbor.celery import app  # only with a broker need Celery be installed

    @app.task(name="orders.dispatch", acks_late=True)
    def dispatch_task(pk: int) -> None:
        dispatch(pk)


def later(pk: int) -> None:
    """Have `dispatch` called once the caller's transaction has committed."""
    if BROKER:
        dispatch_task.delay_on_commit(pk)
    else:
        transaction.on_commit(threading.Thread(target=dispatch, args=[pk], daemon=True).start)


def dispatch(pk: int) -> None:
    """Pack an order, and ship it. A worker that is killed in between starts over: each step is taken once."""
    try:
        with transaction.atomic():
            advance(pk, to=State.PACKED)
        time.sleep(PACKING_SECONDS)
        with transaction.atomic():
            advance(pk, to=State.SHIPPED)
    finally:
        close_old_connections()
