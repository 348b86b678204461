"""The tide gauge: writes a line into its log now and then, beside the people who have it open."""

import asyncio
import math

from asgiref.sync import sync_to_async
from django.utils import timezone
from pycrdt import Text

from pad import live
from pad.models import Pad

PAUSE = 20.0
LINES = 12
TIDE = 12.42 * 3600
"""Seconds from one high water to the next."""


async def run() -> None:
    while True:
        await sync_to_async(write_line)()
        await asyncio.sleep(PAUSE)


# --8<-- [start:edit]
def write_line() -> None:
    """Append the water's height, and remove the oldest lines."""
    if not Pad.objects.filter(slug="tide-log").exists():
        return
    now = timezone.now()
    height = 1.9 + 1.4 * math.sin(now.timestamp() * 2 * math.pi / TIDE)
    with live.Pad(pad="tide-log").edit() as doc:
        text = doc.get("text", type=Text)
        text += f"{now:%H:%M:%S}  {height:.2f} m\n"
        for line in readings(str(text))[:-LINES]:
            before, _, _ = str(text).partition(line)
            start = len(before.encode())  # pycrdt counts the bytes of UTF-8
            del text[start : start + len(line)]


# --8<-- [end:edit]


def readings(text: str) -> list[str]:
    """The lines that the gauge has written."""
    return [line for line in text.splitlines(keepends=True) if line.endswith(" m\n") and line[2:3] == ":"]
