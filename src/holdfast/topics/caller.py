"""Who calls an action: what a handler may rely on."""

from typing import Any, Protocol


class Caller(Protocol):
    """The connection, and through it the person, that an action runs for.

    ``user`` is Django's user (an ``AnonymousUser`` when nobody is signed in), ``client`` the id that the client keeps
    across its connections (what ``exclude`` goes by), ``session`` the id of this one connection.
    """

    @property
    def user(self) -> Any: ...

    @property
    def client(self) -> str: ...

    @property
    def session(self) -> str: ...
