"""The side of a connection that carries out calls."""

from abc import abstractmethod
from collections.abc import Iterable
from functools import partial

from holdfast.auth.base import Identity
from holdfast.hub.hub import Hub
from holdfast.protocol import codes
from holdfast.protocol.codec import BadMessage, Codec
from holdfast.protocol.codes import Code
from holdfast.protocol.effects import Effect, Perform
from holdfast.protocol.server_protocol import Phase

from .caller import ConnectionCaller
from .joined_topic import JoinedTopic
from .manager import ConnectionManager
from .pending_reply import Outcome
from .reporting import CALL_LIMITS, Reporting
from .request import CallFailed, CallRequest
from .transport import Transport


class Performing(Reporting):
    """The base of a connection that carries out calls: it passes them on to :class:`~holdfast.connections.calls.Calls`, with the
    caller and the time, and passes their outcomes on to the session."""

    __slots__ = ("_client", "_manager", "identity")

    def __init__(
        self, manager: ConnectionManager, hub: Hub, transport: Transport, codec: Codec, identity: Identity
    ) -> None:
        super().__init__(hub, transport, codec)
        self._manager = manager
        self._client: str | None = None
        self.identity = identity

    @abstractmethod
    def evict(self, topic: str, code: Code, reason: str | None = None) -> None:
        """End the subscription to a topic."""

    @abstractmethod
    def _carry_out(self, effects: Iterable[Effect]) -> None:
        """Carry out effects of the session."""

    @property
    def caller(self) -> ConnectionCaller:
        """The caller that actions receive. Made on demand, since most connections never call an action."""
        session = self._session
        return ConnectionCaller(
            identity=self.identity,
            secret=session.client,
            connection_id=session.id,
            user_id=session.user,
            client=self._client,
        )

    @property
    def busy(self) -> bool:
        """Whether calls of this connection are running."""
        return self._session.calls > 0

    def still_joined(self, joined: JoinedTopic) -> bool:
        """Whether this very membership still exists. It does not after a leave, even if the client has joined again."""
        return self._joined.get(joined.topic.name) is joined

    def _perform(self, effect: Perform) -> None:
        joined, now = self._joined[self._session.canonical(effect.topic)], self._loop.time()
        try:
            arguments = self._codec.payload(effect.payload)
            request = self._manager.calls.request(
                joined.topic,
                self.caller,
                effect.name,
                effect.key,
                arguments,
                now=now,
                permitted_since=now - self._manager.policy.recheck_seconds,
                recheck=now - joined.checked >= self._manager.policy.recheck_seconds,
                joined=joined,
            )
            answered = partial(self._answered, effect.ref, joined, joined.doubts, request)
            self._manager.calls.perform(request, answered, lambda: self._session.phase is not Phase.CLOSED)
        except (BadMessage, CallFailed) as error:
            bad = CallFailed.of(error.code, detail=error.detail) if isinstance(error, BadMessage) else error
            self._carry_out(self._fail_call(effect.ref, joined.topic.name, bad))

    def _answered(
        self, ref: int | None, joined: JoinedTopic, doubts: int, request: CallRequest, outcome: Outcome
    ) -> None:
        session, topic = self._session, joined.topic.name
        if outcome is None:
            session.late_call_ended()
        elif isinstance(outcome, CallFailed):
            self._carry_out(self._fail_call(ref, topic, outcome))
            if outcome.expelled and self.still_joined(joined):
                self.evict(topic, codes.FORBIDDEN)
        else:
            if joined.doubts == doubts:  # else a revocation came since the rules were asked
                request.keep_answers(joined)
            self._carry_out(session.performed(ref, outcome))

    def _fail_call(self, ref: int | None, topic: str, failure: CallFailed) -> list[Effect]:
        """Answer a call that failed, as :meth:`ServerProtocol.failed` does."""
        limit = CALL_LIMITS.get(failure.payload.code)
        if limit is not None:
            self._report_limit(limit, failure.payload.retry_after, topic)
        return self._session.failed(ref, topic, failure.payload, running=failure.running)
