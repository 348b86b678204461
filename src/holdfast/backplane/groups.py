"""Name of a topic's group in a Channels layer.

Code that knows nothing of Holdfast reaches a topic with ``group_send(group_name("rooms/lobby"), …)``, so the name is
part of the public interface and never changes: ``"holdfast.rooms.lobby"``.

Channels allows ASCII letters, digits, hyphens, underscores and periods, fewer than 100 of them. A topic made of letters,
digits, hyphens, underscores and slashes keeps its name, each slash a period. Any other topic (one that has a period or a
space in it, or is too long) is named by its SHA-256, behind another prefix. Two topics therefore never share a group.
"""

import hashlib
import re

_READABLE = re.compile(r"[A-Za-z0-9_/-]+")
_LONGEST = 99  # "length < 100", says channels.layers.BaseChannelLayer


def group_name(topic: str) -> str:
    """Return the name of the Channels group that belongs to ``topic``."""
    readable = "holdfast." + topic.replace("/", ".")
    if len(readable) <= _LONGEST and _READABLE.fullmatch(topic):
        return readable
    return "holdfast-" + hashlib.sha256(topic.encode("utf-8", "surrogatepass")).hexdigest()
