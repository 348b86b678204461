"""Pads at the start of the demo: a plan to be finished together, one that not all may change, and the tide's log."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pycrdt import Text

from pad import live
from pad.models import Pad


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPad:
    slug: str
    title: str
    purpose: str
    writers: tuple[str, ...] = ()
    text: str


OPEN_HARBOUR = """Open harbour, Saturday

10:00  Gates open. Ada at the quay with the megaphone, and without it after the first hour.
10:30  Knots for beginners (Linus, shed 2). Bring rope for forty.
11:30  Lifejacket fitting for children (Grace, slipway).
13:00  Lunch. The ferry's crew brings soup; we bring bread.
14:00  Round the basin in the survey boat, eight at a time.
16:00  Tug of war against the lock keepers. We have never won.

Still to do
- who fetches the bread?
- a sign for lamp number eleven
- rain plan:

"""

STORM = """Storm plan, from force 8

1. Double the lines on the outer wall. Fenders are behind the fuel shed, under "not fenders".
2. Visitors move inside before the flood. Phone them; wave at the blue ketch.
3. Pump in the dry dock on, rain gauge read every hour.
4. One watch until four, the other from four. Radio beside the bed.

Ada and Grace keep this page. Everyone else: read it before October.
"""

PADS = [
    SeedPad(slug="open-harbour", title="Open harbour", purpose="The plan for Saturday", text=OPEN_HARBOUR),
    SeedPad(
        slug="storm-plan",
        title="Storm plan",
        purpose="Ada and Grace write it; all others may read",
        writers=("ada", "grace"),
        text=STORM,
    ),
    SeedPad(
        slug="tide-log",
        title="Tide log",
        purpose="The gauge writes here too",
        text="Tide gauge at the lock\n\n",
    ),
]


def seed(users: dict[str, Any]) -> Iterator[str]:
    """Create the pads that are not there yet; a line about each."""
    for each in PADS:
        pad, made = Pad.objects.get_or_create(
            slug=each.slug, defaults={"title": each.title, "purpose": each.purpose}
        )
        if not made:  # it may have been changed since
            yield f"Pad {each.slug} is there already."
            continue
        pad.writers.set(users[name] for name in each.writers)
        with live.Pad(pad=each.slug).edit() as doc:
            doc.get("text", type=Text).insert(0, each.text)
        yield f"Pad {each.slug}: {len(each.text)} characters."
