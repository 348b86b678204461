"""Who calls an action: what a handler may rely on."""

from typing import Any, Protocol

from holdfast.protocol.construction import shortened


class Caller(Protocol):
    """The connection, and through it the person, that an action runs for.

    ``user`` is Django's user (an ``AnonymousUser`` when nobody is signed in), ``client`` the id that the client keeps
    across its connections (what ``exclude`` goes by), ``connection_id`` that of this one connection.
    """

    @property
    def user(self) -> Any: ...

    @property
    def client(self) -> str: ...

    @property
    def connection_id(self) -> str: ...


def client_of(method: str, exclude: object) -> str:
    """Return the id of the client that is not to get an event: given as such, or by a caller."""
    client = exclude if isinstance(exclude, str) else getattr(exclude, "client", None)
    if not isinstance(client, str):
        raise TypeError(
            f"{method}: exclude={shortened(exclude)} is neither a caller nor the id of a client; write exclude=caller in an "
            "action, or give the id that the client says it has (client.id in the browser)"
        )
    return client
