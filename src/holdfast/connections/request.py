"""One call on its way, and how it fails."""

import asyncio
from typing import Any

import msgspec

from holdfast.hub.surroundings import HandlerInfo
from holdfast.protocol.codes import Code
from holdfast.protocol.frames import ErrorPayload
from holdfast.topics.action import Action
from holdfast.topics.topic import Topic

from .caller import Caller
from .place import NOT_TRUSTED, Place


class CallFailed(Exception):
    """A call that is answered with an error. ``expelled``: the caller has no right to the topic any more."""

    def __init__(self, payload: ErrorPayload, *, expelled: bool = False) -> None:
        super().__init__(payload.code)
        self.payload = payload
        self.expelled = expelled

    @classmethod
    def of(
        cls,
        code: Code,
        *,
        detail: str = "",
        retry_after: float | None = None,
        errors: dict[str, list[str]] | None = None,
        expelled: bool = False,
    ) -> "CallFailed":
        message = f"{code.message} ({detail})" if detail else code.message
        payload = ErrorPayload(code=code.name, message=message, retry_after=retry_after, errors=errors)
        return cls(payload, expelled=expelled)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one action. ``recheck``: is it time to ask ``may_join`` again? ``wait``: for how many seconds the
    caller has to wait before this is within the rate; a call that was carried out before is answered all the same.
    ``limit``: ``wait``, as soon as a shared limiter has answered. ``place``: where the caller was when the call came."""

    topic: Topic
    caller: Caller
    action: Action
    arguments: dict[str, Any]
    key: str | None
    recheck: bool
    wait: float = 0.0
    limit: "asyncio.Future[float] | None" = None
    place: Place | None = None

    @property
    def info(self) -> HandlerInfo:
        """What its handlers run for."""
        return HandlerInfo(host=self.caller.host, topic=self.topic)

    @property
    def rechecks(self) -> bool:
        """Is ``may_join`` to be asked, as it stands now?"""
        return self.recheck or (self.place is not None and self.place.checked == NOT_TRUSTED)

    def check_place(self) -> None:
        """Refuse the call if its caller was evicted while it waited. Of any thread."""
        if self.place is not None and self.place.revoked is not None:
            raise CallFailed.of(self.place.revoked, expelled=True)

    @property
    def target(self) -> str:
        return f"{self.topic.name} {self.action.name}"
