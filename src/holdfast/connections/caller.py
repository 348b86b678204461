"""ConnectionCaller: the connection that an action runs for, as the action sees it."""

import hashlib
from collections.abc import Sequence
from types import EllipsisType

from holdfast.auth.base import Identity
from holdfast.topics.client_id import earlier_ids, public_id
from holdfast.topics.owner import owner_of_client, owner_of_id


class ConnectionCaller:
    """Handed to every action and to ``may_call``.

    ``user`` is Django's user, or ``AnonymousUser``. ``client`` is the client's public id, the same on all its connections
    (what ``exclude`` goes by), ``connection_id`` that of this one connection. ``user_id`` is the user's primary key as text,
    ``None`` for an anonymous one. ``identity`` has what else is known of the
    connection (:class:`~holdfast.auth.base.Identity`). The handshake's scope is not kept: it would be most of what a
    connection costs.
    """

    __slots__ = ("_client", "_secret", "connection_id", "identity", "user", "user_id")

    def __init__(
        self,
        *,
        identity: Identity,
        secret: str,
        connection_id: str,
        user_id: str | EllipsisType | None = ...,
        client: str | None = None,
    ) -> None:
        self.identity = identity
        # Not asked of the user object later: an action may delete its caller's user, which takes the key away from the object.
        self.user_id = identity.user_id if user_id is ... else user_id
        self.user = identity.user
        self.connection_id = connection_id
        self._secret = secret
        self._client = client

    @property
    def client(self) -> str:
        """The client's public id. The id that the client chose itself stays here."""
        if self._client is None:  # a keyed hash, which a connection keeps
            self._client = public_id(self.user_id, self._secret)
        return self._client

    @property
    def owner(self) -> str:
        """The owner of idempotency keys: the user, or the client if it is anonymous."""
        return owner_of_client(self.client) if self.user_id is None else owner_of_id(self.user_id)

    @property
    def earlier_owners(self) -> Sequence[str]:
        """The owners that an anonymous client was under ``SECRET_KEY_FALLBACKS``: calls from then may be sent again."""
        return (
            [] if self.user_id is not None else [owner_of_client(i) for i in earlier_ids(None, self._secret)]
        )

    def stored_key(self, key: str) -> str:
        """Return the key under which a call is stored. A client's keys contain its secret id, so an anonymous one's are hashed."""
        return (
            key
            if self.user_id is not None
            else hashlib.sha256(f"holdfast.key:{key}".encode()).hexdigest()[:40]
        )

    @property
    def limit_key(self) -> str:
        """The key of what several connections share: rates, threads, unfinished calls. The user; for an anonymous caller its
        address, since it can choose another client id; the client if the address is not known."""
        if self.user_id is not None:
            return owner_of_id(self.user_id)
        return self.identity.address_key or self.owner

    def __repr__(self) -> str:
        return f"<ConnectionCaller {self.owner} connection {self.connection_id}>"
