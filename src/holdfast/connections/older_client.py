"""Clients that know only an older version of some event of a topic."""

from typing import Protocol

from holdfast.auth.base import Identity
from holdfast.protocol.frames import ResetFrame
from holdfast.streams.prepared import Burst
from holdfast.streams.subscriber import Subscriber
from holdfast.topics.topic import Topic
from holdfast.topics.versions import OlderVersions, known_to


class Client(Subscriber, Protocol):
    """A subscriber with the identity that its handshake brought."""

    identity: Identity


class OlderClient:
    """The subscriber of one subscription whose client gets older versions of events. Everything else goes to the connection."""

    __slots__ = ("_connection", "_convert")

    def __init__(self, connection: Subscriber, versions: OlderVersions) -> None:
        self._connection = connection
        self._convert = versions.convert

    @property
    def client(self) -> str:
        return self._connection.client

    @property
    def ready(self) -> bool:
        return self._connection.ready

    @property
    def blocked(self) -> bool:
        return self._connection.blocked

    def write(self, burst: Burst) -> None:
        self._connection.write(burst.converted(self._convert))

    def write_reset(self, reset: ResetFrame) -> None:
        self._connection.write_reset(reset)

    def fail(self) -> None:
        self._connection.fail()

    def overflow(self) -> None:
        self._connection.overflow()

    def __repr__(self) -> str:
        return f"<OlderClient {self._connection!r}>"


def understood_by(client: Client, topic: Topic) -> Subscriber:
    """Return the subscriber for a topic: the client itself, or one that converts events for it."""
    versions = topic.declared.versions
    if versions is None:
        return client
    older = versions.older(known_to(client.identity.query_string))
    return client if older is None else OlderClient(client, older)


def is_outdated(topic: Topic, identity: Identity) -> bool:
    """Whether the client knows no version of some event that the topic still has."""
    versions = topic.declared.versions
    return versions is not None and versions.outdated(known_to(identity.query_string)) is not None
