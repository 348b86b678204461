"""Registry of one process's connections, by id and by user."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from holdfast.auth.base import Identity
from holdfast.protocol.codes import Code
from holdfast.topics.owner import USER, in_owner, is_user

from .joined_topic import JoinedTopic


class RegisteredConnection(Protocol):
    """A connection, as revocation and reauthorization see it."""

    identity: Identity

    @property
    def id(self) -> str: ...

    @property
    def transport_name(self) -> str: ...

    @property
    def user_id(self) -> str | None: ...

    @property
    def owner(self) -> str: ...

    def joined_topics(self) -> Collection[JoinedTopic]: ...

    def still_joined(self, joined: JoinedTopic) -> bool: ...

    def evict(self, topic: str, code: Code, reason: str | None = None) -> None: ...

    def hang_up(self, code: Code, after: float | None = None, reason: str | None = None) -> None: ...

    def renew(self, identity: Identity) -> None: ...

    def shut_down(self, after: float | None = None) -> None: ...

    @property
    def closed_by_server(self) -> bool: ...


class ConnectionRegistry:
    """The connections of one process, in the order in which they began. For the event loop's thread only.

    The connections of a signed-in user are found in constant time. Anonymous connections have no index, because a
    client can choose its own id at any time; they are found by a walk over all connections.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, RegisteredConnection] = {}
        # Most users have one connection, which stands here itself: a set of its own would weigh 216 bytes. The key is the text of the
        # user's primary key, which the connection has: an owner would be another string for each user.
        self._by_user: dict[str, RegisteredConnection | set[RegisteredConnection]] = {}
        self.transports: Counter[str] = Counter()
        """Number of connections by the name of what carries them."""

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[RegisteredConnection]:
        return iter(self._by_id.values())

    def __contains__(self, connection: RegisteredConnection) -> bool:
        return self._by_id.get(connection.id) is connection

    def get(self, id: str) -> RegisteredConnection | None:
        """Return the connection with this id, if it is here."""
        return self._by_id.get(id)

    def add(self, connection: RegisteredConnection) -> None:
        self._by_id[connection.id] = connection
        self.transports[connection.transport_name] += 1
        self.index(connection)

    def discard(self, connection: RegisteredConnection) -> None:
        """Remove a connection. Does nothing if it is not here."""
        if self._by_id.pop(connection.id, None) is not None:
            self.transports[connection.transport_name] -= 1
            self.unindex(connection)

    def index(self, connection: RegisteredConnection) -> None:
        """Note whose a connection is now. Call :meth:`unindex` before its user changes, and this afterwards."""
        if connection.user_id is None or connection not in self:
            return
        user = in_owner(connection.user_id)
        others = self._by_user.get(user)
        if others is None:
            self._by_user[user] = connection
        elif isinstance(others, set):
            others.add(connection)
        else:
            self._by_user[user] = {others, connection}

    def unindex(self, connection: RegisteredConnection) -> None:
        if connection.user_id is None:
            return
        user = in_owner(connection.user_id)
        found = self._by_user.get(user)
        if isinstance(found, set):
            found.discard(connection)
            if len(found) == 1:
                self._by_user[user] = found.pop()
        elif found is connection:
            del self._by_user[user]

    def of(self, owner: str) -> tuple[RegisteredConnection, ...]:
        """Return the connections of one owner."""
        return self.of_any((owner,))

    def of_any(self, owners: Iterable[str]) -> tuple[RegisteredConnection, ...]:
        """Return the connections of these owners. One walk serves all of them that are anonymous."""
        found: list[RegisteredConnection] = []
        anonymous: set[str] = set()
        for owner in owners:
            if not is_user(owner):
                anonymous.add(owner)
                continue
            some = self._by_user.get(owner.removeprefix(USER))
            if isinstance(some, set):
                found += some
            elif some is not None:
                found.append(some)
        if anonymous:
            found += [connection for connection in self if connection.owner in anonymous]
        return tuple(found)

    def count(self, owner: str) -> int:
        """Return how many connections an owner has here."""
        if not is_user(owner):
            return len(self.of(owner))
        found = self._by_user.get(owner.removeprefix(USER))
        return len(found) if isinstance(found, set) else int(found is not None)
