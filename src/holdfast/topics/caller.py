"""The caller of an action: the attributes that a handler may rely on."""

from typing import Any, Protocol

from holdfast.protocol.construction import shortened

from .client_id import MARK


class Caller(Protocol):
    """The connection that an action runs for, and its user.

    ``user`` is Django's user, or an ``AnonymousUser``. ``identity`` has what else is known of the connection
    (:class:`holdfast.Identity`). ``client`` is the public id of the client, the same on all its connections, which ``exclude`` takes.
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
    """Return the public id of the client that ``exclude`` names, as an id or as a caller."""
    client = exclude if isinstance(exclude, str) else getattr(exclude, "client", None)
    if not isinstance(client, str):
        raise TypeError(
            f"{method}: exclude={shortened(exclude)} is neither a caller nor the id of a client; write exclude=caller in an "
            "action, or exclude=holdfast.client_id(request.user, …) with the id that the client says it has"
        )
    if client is exclude and client[:1] not in ("", MARK):
        raise ValueError(
            f"{method}: exclude={shortened(exclude)} is what a client says of itself, which any client can say; write "
            "exclude=holdfast.client_id(request.user, …), so that it names a client of that user only"
        )
    return client
