"""One topic as the client's side of the protocol knows it."""

from collections.abc import Callable
from enum import Enum

from holdfast.protocol.positions import Position

from .backoff import Backoff


class JoinState(Enum):
    WAITING = "waiting"
    """To be joined as soon as there is a connection."""
    ASKED = "asked"
    JOINED = "joined"
    STALE = "stale"
    """To be left, and then joined again for the state as it is now."""
    LEAVING = "leaving"
    ENDED = "ended"


class RemoteSubscription:
    """What the client knows of one topic. ``joined_before`` says that a join without a position may have missed something.
    ``held_back`` says that the client drops the topic's events, and ``dropped`` that it has dropped some."""

    __slots__ = (
        "asked",
        "backoff",
        "canonical",
        "dropped",
        "held_back",
        "joined_before",
        "position",
        "retry_at",
        "snapshots",
        "state",
    )

    def __init__(self, asked: str, position: Position | None, chance: Callable[[], float]) -> None:
        self.asked = asked
        self.canonical = asked
        self.position = position
        self.joined_before = position is not None
        self.snapshots = self.held_back = self.dropped = False
        self.state = JoinState.WAITING
        self.retry_at = 0.0
        self.backoff = Backoff(chance)

    @property
    def on_server(self) -> bool:
        """Whether the server has, or may have, this subscription on the present connection."""
        return self.state in (JoinState.ASKED, JoinState.JOINED, JoinState.STALE)

    def put_off(self, retry_after: float | None, now: float) -> None:
        """Join later, with backoff."""
        self.state, self.retry_at = JoinState.WAITING, now + (retry_after or 0.0) + self.backoff.next()

    def interrupted(self) -> None:
        """Note that the connection has ended."""
        if self.state is not JoinState.ENDED:
            self.state, self.retry_at = JoinState.WAITING, 0.0
        self.backoff.reset()

    def change_user(self) -> None:
        """Another user has taken over the connection. A name that stands for the user now means another topic."""
        if self.canonical != self.asked:
            self.canonical, self.position, self.joined_before = self.asked, None, False
