"""A handshake that was counted, and the refusal of one that was not."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from .boundary import Boundary


Counted = tuple[str | None, bool]
"""What a connection is counted for: its network, and whether its user."""

NOT_COUNTED: Counted = (None, False)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A handshake is refused: with this HTTP status, and ``retry_after`` seconds. ``limit`` names the limit in notices, ``reason`` is
    for the log."""

    limit: str
    status: int
    retry_after: float
    reason: str


class Admission:
    """One counted handshake. It becomes part of a connection (:meth:`take`), or ends (:meth:`end`).

    ``full`` is 0; or the seconds to wait, because the user has as many connections as one may have.
    """

    __slots__ = ("_boundary", "_over", "_user", "full", "network")

    def __init__(self, boundary: "Boundary", network: str | None) -> None:
        self._boundary = boundary
        self._user: str | None = None
        self._over = False
        self.network = network
        self.full = 0.0

    async def identify(self, owner: str | None) -> None:
        """Count the connection for its user; ``None`` for an anonymous one."""
        if owner is not None:
            self.full = await self._boundary.enter_user(owner)
            if not self.full:
                self._user = owner

    def take(self) -> Counted:
        """Hand the counts over to a connection, which ends them."""
        self._over = True
        return self.network, self._user is not None

    def end(self) -> None:
        """Take the counts back, unless a connection has them."""
        if not self._over:
            self._over = True
            self._boundary.left(self.network, self._user)
