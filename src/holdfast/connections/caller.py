"""Caller: the connection that an action runs for, as the action sees it."""

from typing import Any

from holdfast.topics.owner import key_text, owner_of_client, owner_of_key


class Caller:
    """Handed to every action and to ``may_call``.

    ``user`` is Django's user, or ``AnonymousUser``. ``client`` is the id that the client keeps across its connections
    (``exclude`` compares it), ``connection_id`` the id of this one connection. ``host`` is the host that the client connected
    to, if ``HOLDFAST["HANDLER_CONTEXT"]`` is set, else ``None``. The handshake's scope is not kept: it would take most of a
    connection's memory.
    """

    __slots__ = ("client", "connection_id", "host", "user")

    def __init__(self, *, user: Any, client: str, connection_id: str, host: str | None = None) -> None:
        self.host = host
        self.user = user
        self.client = client
        self.connection_id = connection_id

    @property
    def owner(self) -> str:
        """The owner of idempotency keys and rates: the user, or the client if it is anonymous."""
        return owner_of_client(self.client) if self.user_id is None else owner_of_key(self.user_id)

    @property
    def user_id(self) -> str | None:
        """The user's primary key as text; ``None`` for an anonymous one."""
        return user_id(self.user)

    def __repr__(self) -> str:
        return f"<Caller {self.owner} connection {self.connection_id}>"


def user_id(user: Any) -> str | None:
    """The primary key of a signed-in user as text, else ``None``."""
    if user is None or not user.is_authenticated:
        return None
    return key_text(user.pk)
