"""ConnectionCaller: the connection that an action runs for, as the action sees it."""

from holdfast.auth.base import Identity
from holdfast.topics.owner import is_user, owner_of_client, owner_of_id, user_id


class ConnectionCaller:
    """Handed to every action and to ``may_call``.

    ``user`` is Django's user, or ``AnonymousUser``. ``client`` is the id that the client keeps across its connections
    (what ``exclude`` goes by), ``connection_id`` that of this one connection. ``identity`` has what else is known of the
    connection (:class:`~holdfast.auth.base.Identity`). The handshake's scope is not kept: it would be most of what a
    connection costs.
    """

    __slots__ = ("client", "connection_id", "identity", "limit_key", "user")

    def __init__(
        self, *, identity: Identity, client: str, connection_id: str, owner: str | None = None
    ) -> None:
        self.identity = identity
        self.user = identity.user
        self.client = client
        self.connection_id = connection_id
        if owner is None or not is_user(owner):  # else the user object need not be read
            owner = identity.limit_key or self.owner
        self.limit_key = owner
        """The key of what several connections share: rates, threads, unfinished calls. The user; for an anonymous caller its
        address, since it can choose another client id; the client if the address is not known."""

    @property
    def owner(self) -> str:
        """The owner of idempotency keys: the user, or the client if it is anonymous."""
        return owner_of_client(self.client) if self.user_id is None else owner_of_id(self.user_id)

    @property
    def user_id(self) -> str | None:
        """The user's primary key as text; ``None`` for an anonymous one."""
        return user_id(self.user)

    def __repr__(self) -> str:
        return f"<ConnectionCaller {self.owner} connection {self.connection_id}>"
