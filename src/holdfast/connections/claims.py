"""Claims of idempotency keys: inside a transaction, and the waits while another attempt has the key."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat

from django.db import DatabaseError, transaction

from holdfast.log.calls import CallStore, Claim

POLL_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5)


def pauses() -> Iterator[float]:
    """Yield the seconds between two looks at an attempt that another process may be making. It never ends."""
    return chain(POLL_SECONDS, repeat(POLL_SECONDS[-1]))


def claim_inside(store: CallStore, claim: Callable[[], Claim]) -> Claim:
    """Claim a key inside the transaction of the work that it stands for.

    An attempt that has just committed in another process can be a conflict here. Then this attempt has done nothing, and
    the next look finds the other's answer.
    """
    try:
        return claim()
    except DatabaseError as error:
        if not store.conflict(error):
            raise
        transaction.set_rollback(True, using=store.alias)
        return Claim(running=True)
