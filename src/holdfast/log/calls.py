"""Records of calls that are carried out once: the interface that every store of them implements.

A client sends a call again under the same key until it gets an answer. The record of the key says which attempt carries the
call out, and what the answer was. Every implementation promises:

- **One attempt.** Of all attempts under one key, in whatever thread or process, :meth:`CallStore.claim` gives the key to one.
- **Atomicity.** A claim made inside a transaction on the database :attr:`CallStore.alias` vanishes when that rolls back,
  savepoints included. The answer counts when it commits: in the database as a part of the commit, elsewhere right after it.
- **Loss.** An answer stays readable until :meth:`CallStore.forget` or :meth:`CallStore.trim` removes it, as long as the store keeps its data. An
  attempt that claimed a key outside a transaction, and never answered, is reported as lost: it is not repeated.

All methods block and may be called from any thread. They raise :class:`~holdfast.log.base.LogUnavailable` when the store does
not answer. One contract suite, ``tests/log/call_contract.py``, runs on every implementation.
"""

from abc import ABC, abstractmethod
from datetime import datetime

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The first answer to a call, as JSON text: a result, or an error payload if ``failed``."""

    payload: bytes
    failed: bool = False


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of :meth:`CallStore.claim`.

    Exactly one field is set: ``mine`` (carry the call out now), ``answer`` (the call was carried out; this was the answer),
    ``running`` (another attempt is under way: ask again), ``lost`` (an attempt died and may have been carried out),
    ``reused`` (the key belongs to a different call).
    """

    mine: bool = False
    answer: Answer | None = None
    running: bool = False
    lost: bool = False
    reused: bool = False


RECORD_BYTES = 200
"""Bytes that a record counts for besides its answer."""


class CallStore(ABC):
    """The keys and answers of the calls of one installation."""

    alias: str = "default"
    """The Django database whose transactions claims and answers take part in."""

    def conflict(self, error: BaseException) -> bool:
        """Return whether a statement failed only because another transaction committed first.

        If so, the whole transaction may be tried again.
        """
        return False

    @abstractmethod
    def claim(self, owner: str, key: str, target: str, *, seconds: float) -> Claim:
        """Take ``key`` for one attempt at a call, or return the outcome of an earlier attempt.

        ``owner`` scopes the key; ``target`` is the topic and the action that the key is used for. Inside a transaction the
        claim is part of it: it vanishes on rollback. Where the database can, the call waits for an attempt that holds
        the same key in another open transaction. Outside a transaction the claim lasts ``seconds``: an attempt without an
        answer by then counts as lost.
        """

    @abstractmethod
    def find(self, owner: str, key: str, target: str) -> Claim | None:
        """Return the outcome of an earlier attempt, as :meth:`claim` does, without a claim and outside any transaction; ``None``
        if there was no attempt. A plain read: it writes nothing, and waits for no transaction."""

    @abstractmethod
    def answer(self, owner: str, key: str, answer: Answer) -> None:
        """Store the answer to a claimed call, in the same transaction if the claim was made in one.

        Raises :class:`~holdfast.log.base.LogError` if the key is not claimed.
        """

    @abstractmethod
    def release(self, owner: str, key: str) -> None:
        """Give a claim back: the attempt had no effect, so another may be carried out. An answer stays."""

    @abstractmethod
    def forget(self, before: datetime, *, since: datetime | None = None, owners: str = "") -> int:
        """Remove the answers (and lost claims) of calls claimed before a time; return the number removed. ``since``: only of those
        claimed at that time or later. ``owners``: only of owners whose names begin with this text."""

    @abstractmethod
    def trim(self, owner: str, *, count: int, size: int, before: datetime) -> int:
        """Remove one owner's oldest answers (and lost claims) beyond the newest ``count`` records, and beyond those whose answers
        take ``size`` bytes together, :data:`RECORD_BYTES` more for each. Records of calls claimed at ``before`` or later stay.
        Return the number removed."""
