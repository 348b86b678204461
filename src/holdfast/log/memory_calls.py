"""Call records in the memory of this process, beside :mod:`.memory`; they end with the process."""

import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.utils import timezone

from .base import LogError
from .calls import RECORD_BYTES, Answer, CallStore, Claim
from .transactions import is_open, when_committed


class OpenTransaction:
    """Token of an open transaction. Only the callback on commit refers to it, so it disappears when the transaction ends."""

    __slots__ = ("__weakref__",)


@dataclass(slots=True)
class ClaimedCall:
    """A claimed call."""

    target: str
    made: datetime
    ends: datetime
    answer: Answer | None = None
    transaction: weakref.ref[OpenTransaction] | None = None

    def rolled_back(self) -> bool:
        # Django has no hook for a rollback, but it drops the callbacks that were to run on commit.
        return self.transaction is not None and self.transaction() is None

    def settle(self, _: OpenTransaction) -> None:
        self.transaction = None

    def over(self, present: datetime) -> bool:
        """Whether the attempt has its answer, or is lost."""
        return self.answer is not None or self.ends <= present

    def outcome(self, target: str, present: datetime) -> Claim:
        """What this attempt says to another one under its key."""
        if self.target != target:
            return Claim(reused=True)
        if self.answer is not None and self.transaction is None:
            return Claim(answer=self.answer)
        ended = self.transaction is None and self.ends <= present
        return Claim(lost=True) if ended else Claim(running=True)


class MemoryCalls(CallStore):
    """Call records that take part in Django's transactions on the database ``alias``. They never wait for I/O."""

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        self._lock = threading.RLock()
        self._attempts: dict[tuple[str, str], ClaimedCall] = {}

    def claim(self, owner: str, key: str, target: str, *, seconds: float) -> Claim:
        with self._lock:
            present = timezone.now()
            found = self._attempt(owner, key)
            if found is None:
                found = ClaimedCall(target=target, made=present, ends=present + timedelta(seconds=seconds))
                self._attempts[owner, key] = found
                if is_open(self.alias):
                    transaction = OpenTransaction()
                    found.transaction = weakref.ref(transaction)
                    when_committed(partial(found.settle, transaction), self.alias)
                return Claim(mine=True)
            return found.outcome(target, present)

    def find(self, owner: str, key: str, target: str) -> Claim | None:
        with self._lock:
            found = self._attempt(owner, key)
            return None if found is None else found.outcome(target, timezone.now())

    def answer(self, owner: str, key: str, answer: Answer) -> None:
        with self._lock:
            found = self._attempt(owner, key)
            if found is None:
                raise LogError(f"the call {key!r} of {owner!r} cannot be answered: it is not claimed")
            found.answer = answer

    def release(self, owner: str, key: str) -> None:
        with self._lock:
            found = self._attempt(owner, key)
            if found is not None and found.answer is None:
                del self._attempts[owner, key]

    def forget(self, before: datetime, *, since: datetime | None = None, owners: str = "") -> int:
        with self._lock:
            present = timezone.now()
            return self._remove(
                (owner, key)
                for (owner, key), found in self._attempts.items()
                if found.rolled_back()
                or (
                    found.made < before
                    and (since is None or found.made >= since)
                    and owner.startswith(owners)
                    and found.over(present)
                )
            )

    def trim(self, owner: str, *, count: int, size: int, before: datetime) -> int:
        with self._lock:
            present, surplus, number = timezone.now(), [], 0
            records = [(key, found) for key, found in self._attempts.items() if key[0] == owner]
            for key, found in reversed(records):
                length = len(found.answer.payload) if found.answer is not None else 0
                number, size = number + 1, size - length - RECORD_BYTES
                if (number > count or size < 0) and found.made < before and found.over(present):
                    surplus.append(key)
            return self._remove(surplus)

    def _remove(self, keys: Iterable[tuple[str, str]]) -> int:
        keys = list(keys)
        for key in keys:
            del self._attempts[key]
        return len(keys)

    def _attempt(self, owner: str, key: str) -> ClaimedCall | None:
        """The attempt that holds a key, unless its transaction rolled back."""
        found = self._attempts.get((owner, key))
        if found is not None and found.rolled_back():
            del self._attempts[owner, key]
            return None
        return found
