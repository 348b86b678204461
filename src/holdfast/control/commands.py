"""Commands of the control plane: revocations that every process with connections carries out.

They are entries of the log, in a topic that no client can join.
"""

import secrets
from functools import partial

import msgspec

from holdfast.log.base import Draft

TOPIC = "!control"
"""No route matches a name that begins with an exclamation mark."""


class ControlCommand(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="order",
    forbid_unknown_fields=True,
):
    """What all commands share. ``id`` tells a command that was carried out where it was issued from a new one.

    Owners are those of :attr:`holdfast.connections.caller.Caller.owner`: ``"user:7"``, ``"client:…"``. ``reason`` is the
    application's message for the client.
    """

    id: str = msgspec.field(default_factory=partial(secrets.token_hex, 8))


class Evict(ControlCommand, frozen=True, kw_only=True, tag="evict"):
    """End the subscriptions of ``owners`` to a topic; those of all clients if ``owners`` is ``None``."""

    topic: str
    owners: tuple[str, ...] | None = None
    reason: str | None = None


class Disconnect(ControlCommand, frozen=True, kw_only=True, tag="disconnect"):
    """Close every connection of ``owner``. ``gone`` says that the user does not exist any more."""

    owner: str
    gone: bool = False
    reason: str | None = None


class EndSession(ControlCommand, frozen=True, kw_only=True, tag="end_session"):
    """Close the connections of ``owner`` that were opened with one session, given by its fingerprint. Without an owner,
    close those of every user: a login as another user names only the session that it ended."""

    session: str
    owner: str | None = None


class Recheck(ControlCommand, frozen=True, kw_only=True, tag="recheck"):
    """Check again who ``owners`` are and whether they may be in their topics; all clients if ``owners`` is ``None``. With
    ``topic`` (a name) or ``route`` (of a class of topics), check only the clients there, and only whether they may be there."""

    owners: tuple[str, ...] | None = None
    topic: str | None = None
    route: str | None = None


_decoder: msgspec.json.Decoder[Evict | Disconnect | EndSession | Recheck] = msgspec.json.Decoder(
    Evict | Disconnect | EndSession | Recheck
)
decode = _decoder.decode


def draft_of(command: ControlCommand) -> Draft:
    """The command as an entry for the log."""
    return Draft(topic=TOPIC, name=str(command.__struct_config__.tag), payload=msgspec.json.encode(command))
