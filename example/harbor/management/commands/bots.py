"""`manage.py bots`: run the demo's bots in a process of their own, as a fleet does."""

import asyncio
import contextlib
from typing import Any

from django.core.management.base import BaseCommand

from harbor import bots


class Command(BaseCommand):
    help = "Runs the demo's bots until Ctrl-C. One process of a fleet does; the servers have HARBOR_BOTS=0."

    def handle(self, *args: Any, **options: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(bots.run("bots"))
