"""Call records in Redis, for installations whose database cannot hold them.

A claim is taken at once. A claim made inside Django's transaction is released when that rolls back, and its answer is stored
after the commit. If the process dies in between, the call is not repeated but reported as lost.
"""

import weakref
import zlib
from datetime import datetime
from typing import Any

from django.db import connections, transaction
from django.utils import timezone

from holdfast.redis.client import RedisStore

from .base import LogError, LogUnavailable
from .calls import RECORD_BYTES, Answer, CallStore, Claim
from .redis_errors import translate_errors
from .scripts import ANSWER, CLAIM, FIND, FORGET, RELEASE, TRIM_CALLS

BUCKETS = 64
"""Hash tags over which the calls are spread, and so the nodes of a cluster."""


class ClaimTransaction:
    """The open transaction that a call was claimed in. Only the callback on commit refers to it."""

    __slots__ = ("__weakref__", "rolled_back")

    rolled_back: Any

    def settle(self) -> None:
        """Stop watching for a rollback: the transaction has committed, or the claim is released."""
        self.rolled_back.detach()


class RedisCalls(CallStore):
    """Call records under keys that begin with ``<prefix>:calls:``. Redis expires an answer after ``answer_seconds``, and after
    ``brief_seconds`` if its owner's name begins with ``brief``."""

    def __init__(
        self,
        store: RedisStore,
        alias: str = "default",
        answer_seconds: float = 24 * 3600,
        *,
        brief: str | None = None,
        brief_seconds: float = 0.0,
    ) -> None:
        self._store = store
        self.alias = alias
        self._kept = _milliseconds(answer_seconds)
        self._brief = brief
        self._kept_briefly = _milliseconds(brief_seconds)
        self._open: weakref.WeakValueDictionary[tuple[str, str], ClaimTransaction] = (
            weakref.WeakValueDictionary()
        )

    def claim(self, owner: str, key: str, target: str, *, seconds: float) -> Claim:
        index, call, member = self._names(owner, key)
        brief = self._brief is not None and owner.startswith(self._brief)
        times = (_milliseconds(seconds), self._kept_briefly if brief else self._kept)
        keys = (index, call, f"{index}:of:{owner}")
        with translate_errors():
            found = CLAIM.call(self._store.client(), keys, member, target, *times)
        if found[0] == b"mine":
            if connections[self.alias].in_atomic_block:
                self._join_transaction(owner, key)
            return Claim(mine=True)
        return _outcome(found)

    def find(self, owner: str, key: str, target: str) -> Claim | None:
        _, call, _ = self._names(owner, key)
        with translate_errors():
            found = FIND.call(self._store.client(), (call,), target)
        return None if found[0] == b"none" else _outcome(found)

    def _join_transaction(self, owner: str, key: str) -> None:
        """Release the claim if the transaction rolls back. Django has no hook for that, but it drops the callbacks on commit."""
        claimed = ClaimTransaction()
        self._open[owner, key] = claimed
        claimed.rolled_back = weakref.finalize(claimed, self._release_quietly, owner, key)
        claimed.rolled_back.atexit = False
        transaction.on_commit(claimed.settle, using=self.alias, robust=True)

    def answer(self, owner: str, key: str, answer: Answer) -> None:
        if (owner, key) in self._open and connections[self.alias].in_atomic_block:
            keep = lambda: self._answer(owner, key, answer)  # noqa: E731 - Django wants one with a name
            transaction.on_commit(keep, using=self.alias, robust=True)
        else:
            self._answer(owner, key, answer)

    def _answer(self, owner: str, key: str, answer: Answer) -> None:
        _, call, _ = self._names(owner, key)
        with translate_errors():
            claimed = ANSWER.call(self._store.client(), (call,), answer.payload, int(answer.failed))
        if not claimed:
            raise LogError(f"the call {key!r} of {owner!r} cannot be answered: it is not claimed")

    def release(self, owner: str, key: str) -> None:
        if (claimed := self._open.pop((owner, key), None)) is not None:
            claimed.settle()
        index, call, member = self._names(owner, key)
        with translate_errors():
            RELEASE.call(self._store.client(), (index, call), member)

    def _release_quietly(self, owner: str, key: str) -> None:
        try:
            self.release(owner, key)
        except LogUnavailable:
            pass  # the claim ends by itself, and then counts as lost

    def forget(self, before: datetime, *, since: datetime | None = None, owners: str = "") -> int:
        begin = "-inf" if since is None else str(_moment(since))
        gone = 0
        with translate_errors():
            client: Any = self._store.client()
            for bucket in range(BUCKETS):
                index = self._index(bucket)
                for member in client.zrangebyscore(index, begin, f"({_moment(before)}"):
                    if member.decode().partition(":")[2].startswith(owners):
                        gone += FORGET.call(client, (index, f"{index}:{member.decode()}"), member)
        return gone

    def trim(self, owner: str, *, count: int, size: int, before: datetime) -> int:
        index = self._index_of(owner)
        keys = (index, f"{index}:of:{owner}")
        with translate_errors():
            gone: int = TRIM_CALLS.call(
                self._store.client(), keys, f"{index}:", count, size, _moment(before), RECORD_BYTES
            )
        return gone

    def _names(self, owner: str, key: str) -> tuple[str, str, str]:
        """The sorted set, the call, and what the call is called in the sorted set."""
        member = f"{len(owner)}:{owner}:{key}"  # no two pairs have the same
        index = self._index_of(owner)
        return index, f"{index}:{member}", member

    def _index_of(self, owner: str) -> str:
        """The sorted set of an owner's calls. All keys of one owner are on one node of a cluster, so that a script can trim them."""
        return self._index(zlib.crc32(owner.encode()) % BUCKETS)

    def _index(self, bucket: int) -> str:
        return f"{self._store.prefix}:calls:{{calls-{bucket}}}"


def _outcome(found: list[Any]) -> Claim:
    """What the scripts say about an earlier attempt."""
    match found[0]:
        case b"answer":
            return Claim(answer=Answer(payload=found[1], failed=found[2] == b"1"))
        case b"lost":
            return Claim(lost=True)
        case b"reused":
            return Claim(reused=True)
        case _:
            return Claim(running=True)


def _moment(time: datetime) -> int:
    aware = timezone.make_aware(time) if timezone.is_naive(time) else time
    return round(aware.timestamp() * 1000)


def _milliseconds(seconds: float) -> int:
    return max(round(seconds * 1000), 0)
