"""A call of an action, and its failure."""

import asyncio
from typing import Any

import msgspec

from holdfast.protocol.codes import Code
from holdfast.protocol.frames import ErrorPayload
from holdfast.threads.handler_context import HandlerInfo
from holdfast.topics.action import Action
from holdfast.topics.topic import Topic

from .caller import ConnectionCaller
from .joined_topic import NOT_TRUSTED, JoinedTopic


class CallFailed(Exception):
    """A call is answered with an error. ``expelled``: the caller has lost the right to the topic. ``running``: the call goes on,
    and counts as unfinished, although it has its answer."""

    def __init__(self, payload: ErrorPayload, *, expelled: bool = False, running: bool = False) -> None:
        super().__init__(payload.code)
        self.payload = payload
        self.expelled = expelled
        self.running = running

    @property
    def retry_after(self) -> float | None:
        return self.payload.retry_after

    @classmethod
    def of(
        cls,
        code: Code,
        *,
        detail: str = "",
        retry_after: float | None = None,
        errors: dict[str, list[str]] | None = None,
        expelled: bool = False,
        running: bool = False,
    ) -> "CallFailed":
        message = f"{code.message} ({detail})" if detail else code.message
        payload = ErrorPayload(code=code.name, message=message, retry_after=retry_after, errors=errors)
        return cls(payload, expelled=expelled, running=running)


class CallRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one action.

    ``payer``: the ``limit_key`` of the caller, for which the call counts. ``recheck``: whether ``may_join`` is due to be asked
    again. ``wait``: seconds until the call is within the rate; a call that was carried out before is answered in any case.
    ``limit``: the future of ``wait``, while a shared limiter has not answered yet. ``joined``: the caller's membership when the
    call came. ``permitted``: the permissions that the action requires were asked for a moment ago, or it requires none. ``at``:
    the time when it came.
    """

    topic: Topic
    caller: ConnectionCaller
    payer: str
    action: Action
    arguments: dict[str, Any]
    key: str | None
    recheck: bool
    wait: float = 0.0
    limit: "asyncio.Future[float] | None" = None
    joined: JoinedTopic | None = None
    permitted: bool = False
    at: float = 0.0

    @property
    def info(self) -> HandlerInfo:
        """What its handlers run for."""
        return HandlerInfo(host=self.caller.identity.host, topic=self.topic)

    @property
    def rechecks(self) -> bool:
        """Whether ``may_join`` must be asked now."""
        return self.recheck or (self.joined is not None and self.joined.checked == NOT_TRUSTED)

    @property
    def permitted_now(self) -> bool:
        """Whether the permissions that the action requires need not be asked for."""
        doubted = self.joined is not None and self.joined.checked == NOT_TRUSTED
        return not self.action.requires or (self.permitted and not doubted)

    def keep_answers(self, joined: JoinedTopic) -> None:
        """Note for later calls that the rules which this call asked have said yes."""
        if joined.checked == NOT_TRUSTED:
            return
        if self.recheck:
            joined.checked = self.at
        if not self.permitted:
            joined.permit(self.action, self.caller.identity, self.at)

    def check_revoked(self) -> None:
        """Raise :class:`CallFailed` if the caller was evicted while the call waited. May be called from any thread."""
        if self.joined is not None and self.joined.revoked is not None:
            raise CallFailed.of(self.joined.revoked, expelled=True)

    @property
    def target(self) -> str:
        return f"{self.topic.name} {self.action.name}"
