"""Member list of a topic, as a browser client keeps it."""

from typing import Any

import msgspec

from holdfast.protocol import frames
from holdfast.topics.owner import key_text
from holdfast.topics.presence import Member, anonymous_id


class _PresencePayload(msgspec.Struct):
    """The payload of a ``presence`` message, with each member still encoded."""

    members: list[msgspec.Raw] | None = None
    count: int | None = None
    joined: list[msgspec.Raw] = []
    left: list[str] = []


class MemberList:
    """Members of one topic. ``members`` is ``None`` while they are not known, or while only ``count`` is."""

    def __init__(self) -> None:
        self.members: dict[str, Member] | None = None
        self.count: int | None = None

    def begin(self, payload: frames.JoinedPayload) -> None:
        """Start with the list of a ``joined`` message."""
        if payload.members is not msgspec.UNSET:
            self._become(_read(msgspec.json.decode(payload.members, type=list[msgspec.Raw])))
        elif payload.count is not None:
            self._become(None, payload.count)

    def take(self, frame: frames.PresenceFrame) -> None:
        """Apply a ``presence`` message."""
        news = msgspec.json.decode(frame.payload, type=_PresencePayload)
        if news.members is not None:
            self._become(_read(news.members))
        elif news.count is not None:
            self._become(None, news.count)
        else:
            assert self.members is not None, (
                "the server sent a difference to a member list that it never sent"
            )
            kept = {one: member for one, member in self.members.items() if one not in news.left}
            self._become(kept | _read(news.joined))

    def _become(self, members: dict[str, Member] | None, count: int | None = None) -> None:
        self.members = members
        self.count = count if members is None else len(members)

    def __str__(self) -> str:
        if self.members is not None:
            return f"the members are {', '.join(sorted(self.members)) or 'none'}"
        return (
            "the members are not known"
            if self.count is None
            else f"there are {self.count} members, without a list"
        )


def _read(infos: list[msgspec.Raw]) -> dict[str, Member]:
    members = [Member.read(bytes(info)) for info in infos]
    return {member.id: member for member in members}


def member_id(who: Any) -> str:
    """Return the member id of a user or a client; an id is returned as it is."""
    if isinstance(who, str):
        return who
    client = getattr(who, "_client", who)
    user = getattr(client, "_user", who)
    if getattr(user, "pk", None) is not None:
        return key_text(user.pk)
    if hasattr(client, "_user"):
        return anonymous_id(client.id)
    raise TypeError(f"expected a user, a live client or a member's id, got {who!r}")
