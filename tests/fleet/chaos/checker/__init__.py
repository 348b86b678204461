"""Checker of the promises: compares what every client saw with what the database holds.

Nothing here reads a clock, a socket or a file: :func:`check` is a function from a :class:`Case` to violations.
"""

from .case import Case, Kind, Violation
from .judge import check

__all__ = ["Case", "Kind", "Violation", "check"]
