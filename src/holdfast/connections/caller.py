"""Who is calling: what an action learns about the connection that it runs for."""

from typing import Any

from holdfast.topics.owner import key_text, owner_of_client, owner_of_key


class Caller:
    """Handed to every action and to ``may_call``.

    ``user`` is Django's user, or ``AnonymousUser``. ``client`` is the id that the client keeps across its connections
    (what ``exclude`` goes by), ``connection_id`` that of this one connection. ``host`` is the host that it was made to, where
    that matters (``HOLDFAST["HANDLER_CONTEXT"]``), else ``None``. The handshake's scope is not kept: it would be
    most of what a connection costs.
    """

    __slots__ = ("client", "connection_id", "host", "user")

    def __init__(self, *, user: Any, client: str, connection_id: str, host: str | None = None) -> None:
        self.host = host
        self.user = user
        self.client = client
        self.connection_id = connection_id

    @property
    def owner(self) -> str:
        """Whose keys and rates these are: the user's, or for an anonymous one the client's."""
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
