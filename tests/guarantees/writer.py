"""A process that writes until it is killed: ``python -m tests.guarantees.writer DATABASE NAME``.

Each transaction writes rows and, with each, an event that says the same; some roll back, some only a savepoint.
"""

import json
import random
import sys
from itertools import count
from typing import Any


def main(database: str, name: str) -> None:
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": json.loads(database)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "holdfast"],
        USE_TZ=True,
    )
    django.setup()
    write(name)


def write(name: str) -> None:
    from django.db import transaction

    from holdfast.log.base import Draft
    from holdfast.log.database import DatabaseLog

    from .scratch import add_row

    log, chance = DatabaseLog(), random.Random(name)

    def say(value: str) -> None:
        add_row("default", value)
        topics = [f"crash/{chance.randrange(2)}"]
        log.stage(
            [Draft(topic=topic, name="said", payload=json.dumps(value).encode()) for topic in topics], ignore
        )

    print("ready", flush=True)
    for number in count():
        with transaction.atomic():
            for part in range(chance.randrange(1, 4)):
                say(f"{name}-{number}-{part}")
            with transaction.atomic():
                say(f"{name}-{number}-savepoint")
                transaction.set_rollback(chance.random() < 0.3)
            if chance.random() < 0.2:
                transaction.set_rollback(True)


def ignore(_: list[Any]) -> None:
    pass


if __name__ == "__main__":
    main(*sys.argv[1:])
