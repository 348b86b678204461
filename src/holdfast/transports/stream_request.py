"""Request that opens an event stream or a polling connection: topics, and positions to resume from."""

from collections.abc import Sequence

import msgspec
from django.http import QueryDict

from holdfast.auth.base import Identity
from holdfast.connections.manager import ConnectionManager
from holdfast.protocol import event_ids
from holdfast.protocol.event_ids import BadEventId
from holdfast.protocol.frames import HelloFrame, HelloPayload, JoinFrame, JoinPayload, TopicName
from holdfast.protocol.positions import Position

from .authentication import identify
from .handshake import Handshake
from .responses import respond


class BadRequest(Exception):
    """A request that opens nothing. The text tells the developer of the client what to change."""


class StreamRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The hello and the joins that a WebSocket's first messages would carry. ``last`` is the event id that they resume from."""

    hello: HelloFrame
    joins: tuple[JoinFrame, ...]
    last: str = ""

    @property
    def topics(self) -> tuple[str, ...]:
        """The names of the topics, as the client wrote them."""
        return tuple(join.topic for join in self.joins)

    @property
    def since(self) -> dict[str, Position]:
        """The positions that the client gave, by the names of their topics."""
        return {join.topic: join.payload.since for join in self.joins if join.payload.since is not None}

    @classmethod
    def of(cls, query: QueryDict, headers: Sequence[tuple[bytes, bytes]], most: int) -> "StreamRequest":
        """Read a request for at most ``most`` topics. Raises :class:`BadRequest`."""
        topics = list(dict.fromkeys(query.getlist("topic")))
        if not topics and "client" not in query:
            # A client that keeps a connection may have nothing to join yet. A page that writes the URL by hand has forgotten it.
            raise BadRequest("Name at least one topic: ?topic=rooms/lobby\n")
        if len(topics) > most:
            raise BadRequest(f"One request names at most {most} topics.\n")
        sent = [value.decode("latin-1") for name, value in headers if name == b"last-event-id"]
        # A page that opens a new EventSource cannot set the header, so the query may have it too. The header is newer.
        last = sent[-1] if sent else query.get("last-event-id", "")
        try:
            since = event_ids.parse(last, topics)
            hello = msgspec.convert({"client": query.get("client")}, HelloPayload)
            for topic in topics:
                msgspec.convert(topic, TopicName)
        except (BadEventId, msgspec.ValidationError) as error:
            raise BadRequest(f"{error}\n") from None
        joins = tuple(
            JoinFrame(ref=ref, topic=topic, payload=JoinPayload(since=since.get(topic)))
            for ref, topic in enumerate(topics, 1)
        )
        return cls(hello=HelloFrame(payload=hello), joins=joins, last=last)


async def asked_by(
    service: ConnectionManager, handshake: Handshake, query: QueryDict
) -> tuple[Identity, StreamRequest] | None:
    """Return who sends a request, and what it asks for. ``None``: it has been refused.

    ``query`` is that of the request. It is parsed once, because long polling sends one every few seconds.
    """
    identity = await identify(service.authenticator, service.boundary, handshake)
    if identity is None:
        return None
    headers, most = handshake.scope["headers"], service.policy.limits.topics
    try:
        return identity, StreamRequest.of(query, headers, most)
    except BadRequest as error:
        await respond(handshake.scope, handshake.send, 400, str(error))
        return None
