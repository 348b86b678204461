"""Removes tickets from what a server writes to its access log."""

import re
from typing import Any

from uvicorn.protocols.utils import get_path_with_query_string

_TICKET = re.compile(r"(?<=[?&]ticket=)[^&#\s]+")


def logged_target(scope: Any) -> str:
    """Return the target of a request, as the access log shows it."""
    return without_ticket(get_path_with_query_string(scope))


def without_ticket(target: str) -> str:
    """Return a request's target with ``[removed]`` in place of the ticket in its query."""
    return _TICKET.sub("[removed]", target) if "ticket=" in target else target
