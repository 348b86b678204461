"""The caller of an action: the attributes that a handler may rely on."""

from typing import Any, Protocol

from holdfast.protocol.construction import shortened


class Caller(Protocol):
    """The connection that an action runs for, and its user.

    ``user`` is Django's user, or an ``AnonymousUser``. ``identity`` has what else is known of the connection
    (:class:`holdfast.Identity`). ``client`` is the id that the client keeps across its connections, which ``exclude`` takes.
    ``connection_id`` is the id of this one connection.
    """

    @property
    def user(self) -> Any: ...

    @property
    def identity(self) -> Any: ...

    @property
    def client(self) -> str: ...

    @property
    def connection_id(self) -> str: ...


def client_of(method: str, exclude: object) -> str:
    """Return the id of the client that ``exclude`` names, as an id or as a caller."""
    client = exclude if isinstance(exclude, str) else getattr(exclude, "client", None)
    if not isinstance(client, str):
        raise TypeError(
            f"{method}: exclude={shortened(exclude)} is neither a caller nor the id of a client; write exclude=caller in an "
            "action, or give the id that the client says it has (client.id in the browser)"
        )
    return client
