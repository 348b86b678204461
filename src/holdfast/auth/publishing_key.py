"""API keys of services that publish over HTTP without Django."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated

import msgspec
from msgspec import Meta

from holdfast.limits.base import Rate

SIGNATURE_SECONDS = 300.0
"""Greatest age of a signature, and greatest difference between the clocks, in seconds."""

Secret = Annotated[str, Meta(min_length=32, max_length=512, pattern=r"^[\x21-\x7e]+$")]
"""At least 32 printable ASCII characters, such as ``secrets.token_urlsafe(32)``."""

_SIGNATURE = re.compile(r"t=(?P<time>[0-9]{1,12}),v1=(?P<digest>[0-9a-f]{64})")


class PublishingKey(
    msgspec.Struct, frozen=True, kw_only=True, rename="upper", forbid_unknown_fields=True, dict=True
):
    """One service that may publish.

    ``topics`` are names of topics, in which ``*`` stands for any text: ``"orders/*"``. ``keys`` are its secrets: give a second
    one while the service changes over to it, then remove the first. ``rate`` counts requests. With ``signed`` a request carries
    an HMAC of its body instead of the secret itself.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]
    keys: Annotated[tuple[Secret, ...], Meta(min_length=1)]
    topics: Annotated[tuple[str, ...], Meta(min_length=1)]
    rate: str = "100/s"
    signed: bool = False

    @cached_property
    def per(self) -> Rate:
        """``rate`` as a value."""
        return Rate.parse(self.rate)

    @property
    def owner(self) -> str:
        """The owner of the idempotency keys of this service."""
        return f"publisher:{self.name}"

    def allows(self, topic: str) -> bool:
        """Whether this service may publish to the topic of this canonical name."""
        return any(fnmatchcase(topic, pattern) for pattern in self.topics)


def sign(secret: str, body: bytes, at: int) -> str:
    """Return the value of the header ``Holdfast-Signature`` for a body that is sent at ``at``, in seconds since 1970."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class OfferedKey(msgspec.Struct, frozen=True, kw_only=True):
    """Proof that the head of a request offers. Without a ``signature`` the secret itself was there, and was right."""

    key: PublishingKey
    at: int = 0
    signature: str = ""

    def proves(self, body: bytes) -> bool:
        """Whether the request may publish. The time that this takes does not depend on the secrets."""
        if not self.signature:
            return True
        proofs = [
            hmac.compare_digest(sign(secret, body, self.at), self.signature) for secret in self.key.keys
        ]
        return any(proofs)


def offered_key(
    keys: Sequence[PublishingKey], headers: Iterable[tuple[bytes, bytes]], now: float
) -> OfferedKey | None:
    """Return what the head of a request offers; ``None`` if that proves nothing, so that its body need not be read.

    ``now`` is in seconds since 1970.
    """
    found = dict(headers)
    kind, _, token = found.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        key = _with_secret(keys, token.strip())
        return None if key is None else OfferedKey(key=key)
    match = _SIGNATURE.fullmatch(found.get(b"holdfast-signature", b"").decode("latin-1"))
    if match is None or abs(now - int(match["time"])) > SIGNATURE_SECONDS:
        return None
    named = found.get(b"holdfast-key", b"").decode("latin-1")
    signing = next((key for key in keys if key.name == named), None)
    return None if signing is None else OfferedKey(key=signing, at=int(match["time"]), signature=match[0])


def _with_secret(keys: Sequence[PublishingKey], token: bytes) -> PublishingKey | None:
    """Return the key that has this secret, unless its requests must be signed. The time does not depend on the secrets."""
    given = hashlib.sha256(token).digest()
    proven = None
    for key in keys:
        for secret in key.keys:
            if hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), given) and not key.signed:
                proven = key
    return proven
