"""The authenticator interface, and the values that it takes and returns."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec
from django.core.checks import CheckMessage
from django.core.exceptions import PermissionDenied
from django.http import QueryDict
from django.utils import timezone

from holdfast.protocol.construction import Explained, make
from holdfast.topics.owner import owner_of_key, user_id

from .address import network_of

NO_CLAIMS: Mapping[str, Any] = MappingProxyType({})


class CredentialExpired(PermissionDenied):
    """A credential that was valid, and no longer is. The client may come back with a newer one."""


class CredentialKind(enum.Enum):
    """The kind of credential that an authenticator checks.

    ``AMBIENT``: what a handshake brings by itself, such as a cookie or a proxy's header. ``TOKEN``: a token, whichever way it came.
    ``TICKET``: the ``ticket`` of the URL.
    """

    AMBIENT = "ambient"
    TOKEN = "token"  # noqa: S105 - the name of a kind
    TICKET = "ticket"


class Credential(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an authenticator of a list keeps with an identity, so that it can revalidate it. ``value`` may be a secret: it is in no
    log line and no ``repr``."""

    authenticator: "Authenticator"
    value: Any = None

    def __repr__(self) -> str:
        return f"<Credential of {type(self.authenticator).__name__}>"


# gc=False: nothing that an identity holds refers back to it, and a process holds one for each connection.
class Identity(msgspec.Struct, metaclass=Explained, frozen=True, kw_only=True, gc=False):
    """The identity of a connection: its user, and the facts of its handshake that a rule may need.

    ``user`` is Django's user, or an ``AnonymousUser``. ``session_key`` is the key of the session that named the user;
    ``None`` if something else did, or if the session has no key on the server (signed cookies). ``claims`` is what a token
    says besides its user. At ``expires_at``, an aware datetime, the identity ends: the server closes the connection with
    ``token_expired``, unless a ``refresh`` has extended it.

    ``host`` is the name of the host that the client connected to, in lower case and without the port; ``None`` if it is not
    known or not among ``ALLOWED_HOSTS``. ``address`` is the client's IP address as the ASGI server reports it, which takes
    proxies into account only as far as the server trusts them; ``None`` if it is not known. ``query_string`` is that of
    the URL, without the question mark. A client can send any host that ``ALLOWED_HOSTS`` allows, and any query: use them to
    narrow a rule, never as proof of who the client is.

    ``topics`` are the canonical names of the topics that the connection may join, if its credential is bound to some; ``None``
    for all that admit the user. ``credential`` belongs to the authenticator.
    """

    __example__: ClassVar[str] = 'Identity(user=user, claims={"scope": "read"})'

    user: Any
    session_key: str | None = None
    claims: Mapping[str, Any] = NO_CLAIMS
    expires_at: datetime | None = None
    host: str | None = None
    address: str | None = None
    query_string: str = ""
    topics: frozenset[str] | None = None
    credential: Credential | None = None

    @property
    def user_id(self) -> str | None:
        """The user's primary key as text; ``None`` for an anonymous client. Raises ``UserWithoutKey`` for a signed-in user that
        has none."""
        return user_id(self.user)

    @property
    def owner(self) -> str | None:
        """The owner that limits, call keys and revocations go by; ``None`` for an anonymous client, whose own id names it."""
        text = self.user_id
        return None if text is None else owner_of_key(text)

    @property
    def network(self) -> str | None:
        """The address, or for IPv6 its /64 network, as limits for each address count it; ``None`` if it is not known."""
        return None if self.address is None else network_of(self.address)

    @property
    def limit_key(self) -> str | None:
        """The key that limits shared by several connections go by: the owner; for an anonymous client its address, because it
        chooses its own id. ``None`` for an anonymous client whose address is not known."""
        return self.owner or self.address_key

    @property
    def address_key(self) -> str | None:
        """The :attr:`limit_key` of an anonymous client, whether or not this identity is one; ``None`` if the address is not known."""
        network = self.network
        return None if network is None else f"address:{network}"

    @property
    def query(self) -> QueryDict:
        """The query of the URL, parsed as ``request.GET`` is."""
        return QueryDict(self.query_string)

    def covers(self, topic: str) -> bool:
        """Whether the credential allows this topic, by its canonical name. The topic's own rule decides besides."""
        return self.topics is None or topic in self.topics

    @property
    def seconds_left(self) -> float | None:
        """Seconds until ``expires_at``, negative once it has passed; ``None`` without an ``expires_at``."""
        return None if self.expires_at is None else (self.expires_at - timezone.now()).total_seconds()

    @property
    def expired(self) -> bool:
        """Whether ``expires_at`` has passed."""
        left = self.seconds_left
        return left is not None and left <= 0

    def bound_like(self, before: "Identity", user_before: str | None) -> "Identity":
        """Return this identity, which replaces ``before`` on a connection, with the session that ``before`` was bound to.
        ``user_before`` is the user's key as the connection knows it: the project may have deleted the user since.

        A connection that a session opened ends with that session, also after the client has sent a token of the same user. A
        token of another user, or one that names a session itself, replaces the binding.
        """
        if self.session_key is not None or before.session_key is None or self.user_id != user_before:
            return self
        return msgspec.structs.replace(self, session_key=before.session_key)

    def with_token(self, token: str) -> "AuthRequest":
        """Return the request to authenticate a token that arrived on this identity's connection."""
        return AuthRequest(token=token, host=self.host, address=self.address, query_string=self.query_string)


class AuthRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The credentials of a client, whichever transport received them.

    A handshake brings ``headers`` (lower-case names, as ASGI has them). It may bring a ``token`` too, as a subprotocol or in an
    ``Authorization`` header (:mod:`.presented`). Otherwise a token arrives later, in the client's first message or when the
    client refreshes it; that request has no headers. ``scheme`` is the first word of the ``Authorization`` header that brought
    the token, in lower case; ``None`` if the token came another way. ``fault`` says what is wrong with the way in which the
    credentials were sent, such as two tokens.

    ``user`` and ``session`` are those that a middleware in front of the transport has found, such as Channels'
    ``AuthMiddlewareStack``. ``host``, ``address`` and ``query_string`` are as in :class:`Identity`.
    """

    headers: Sequence[tuple[bytes, bytes]] = ()
    token: str | None = None
    scheme: str | None = None
    fault: str | None = None
    user: Any = None
    session: Any = None
    host: str | None = None
    address: str | None = None
    query_string: str = ""

    @property
    def tickets(self) -> list[str]:
        """The values of ``ticket`` in the query of the URL."""
        return QueryDict(self.query_string).getlist("ticket") if "ticket=" in self.query_string else []

    def identify(
        self,
        user: Any,
        *,
        session_key: str | None = None,
        claims: Mapping[str, Any] = NO_CLAIMS,
        expires_at: datetime | None = None,
        topics: frozenset[str] | None = None,
        credential: Credential | None = None,
    ) -> Identity:
        """Return the identity of ``user`` with this request's host, address and query."""
        identity: Identity = make(
            Identity,
            user=user,
            session_key=session_key,
            claims=claims,
            expires_at=expires_at,
            host=self.host,
            address=self.address,
            query_string=self.query_string,
            topics=topics,
            credential=credential,
        )
        return identity


class Authenticator(ABC):
    """Finds out who a client is, and later whether it still is.

    A project's own is named by ``HOLDFAST["AUTHENTICATOR"]``. There is one object in a process; both methods run on the event
    loop, and many of each at the same time.

    In a list of authenticators, ``kind`` says which requests this one is asked about (:class:`~.chain.AuthenticatorChain`).
    """

    kind: ClassVar[CredentialKind] = CredentialKind.AMBIENT

    def accepts(self, request: AuthRequest) -> bool:
        """Return whether this authenticator decides about the request, which brings a credential of its ``kind``. Asked only in a
        list: of several with one kind, the first that accepts the request decides alone."""
        return True

    def check(self) -> Sequence[CheckMessage]:
        """Return what is wrong or doubtful about the options, for ``manage.py check``."""
        return ()

    @abstractmethod
    async def authenticate(self, request: AuthRequest) -> Identity | None:
        """Return the identity of a client; ``None`` if its credentials are not valid.

        A client without credentials is anonymous, which is an identity: ``request.identify(AnonymousUser())``. After
        ``None``, or an exception that means no (``PermissionDenied``), the handshake is refused; for a token the connection is
        closed with ``unauthenticated``, which is final. After an exception that means "try again", such as a database's
        ``OperationalError``, the client comes back later. Any other exception is a fault.
        """

    @abstractmethod
    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        """Return, in the same order, what has become of identities, none of which is anonymous.

        For each: the identity as it is now, usually with the user read again; ``None`` if it does not hold any more, and
        its connection is closed with ``unauthenticated``; or the exception that kept from finding out, after which it is
        asked again. After an exception that this method raises, each identity is asked about alone, unless the exception says
        that a store is away: then it counts for all of them.
        """
