"""All checks in one call."""

from .calls import calls
from .case import Case, Violation
from .commits import commits
from .delivery import delivery
from .lists import lists
from .presence import presence
from .revocation import revocation


def check(case: Case) -> list[Violation]:
    """Every violation, in the order of time as far as it has one."""
    found = [
        violation
        for part in (commits, delivery, calls, revocation, presence, lists)
        for violation in part(case)
    ]
    return sorted(found, key=lambda violation: violation.at or 0.0)
