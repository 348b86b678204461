"""Navigation, which every page shows. A room of Harbor adds its line."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`icon` is a symbol of icons.svg; `staff` is for pages that only staff may open."""

    label: str
    icon: str
    view: str
    staff: bool = False

    @property
    def url(self) -> str:
        return reverse(self.view)

    @property
    def app(self) -> str:
        return self.view.partition(":")[0]


ENTRIES = [
    Entry(label="Chat", icon="chat", view="chat:rooms"),
    Entry(label="Pads", icon="pad", view="pad:pads"),
    Entry(label="Orders", icon="orders", view="orders:mine"),
    Entry(label="Notices", icon="notices", view="notices:inbox"),
    Entry(label="Logbook", icon="logbook", view="logbook:entries"),
    Entry(label="Race", icon="race", view="race:race"),
    Entry(label="Bridge", icon="bridge", view="bridge:bridge", staff=True),
]


def navigation(request: HttpRequest) -> dict[str, Any]:
    """A context processor: the entries that this user may open, and the app whose page this is."""
    match = request.resolver_match
    user = getattr(request, "user", None)
    return {
        "navigation": [each for each in ENTRIES if not each.staff or (user and user.is_staff)],
        "here": match.app_name if match else "",
    }
