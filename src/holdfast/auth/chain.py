"""Several authenticators at once: sessions, tokens and tickets side by side."""

from collections.abc import Sequence

from django.contrib.auth.models import AnonymousUser
from django.core.checks import CheckMessage

from . import revalidation
from .base import Authenticator, AuthRequest, Credential, Identity, Kind


class AuthenticatorChain(Authenticator):
    """Asks one of several authenticators about each request. The request alone decides which one:

    1. A request with a token goes to the first authenticator of kind ``TOKEN`` that accepts it.
    2. A request with a ticket goes to the one of kind ``TICKET``.
    3. Any other goes to the first of kind ``AMBIENT``, such as sessions. Without such an authenticator the client is anonymous.

    The answer of that one is final: a credential that is present and not valid is refused, and never passed over for a cookie. So
    is a token that no authenticator accepts, and a request with both a token and a ticket. A kind for which there is no
    authenticator is not looked at: an ``Authorization`` header that a proxy adds, or a ``ticket`` in the project's own URLs.
    """

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        self._of: dict[Kind, list[Authenticator]] = {kind: [] for kind in Kind}
        self._all = tuple(authenticators)
        for each in authenticators:
            self._of[each.kind].append(each)

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        with_token = request.token is not None and bool(self._of[Kind.TOKEN])
        with_ticket = bool(self._of[Kind.TICKET]) and bool(request.tickets)
        if with_token and (request.fault is not None or with_ticket):
            return None
        if with_token or with_ticket:
            kind = Kind.TOKEN if with_token else Kind.TICKET
            chosen = next((each for each in self._of[kind] if each.accepts(request)), None)
            return None if chosen is None else await chosen.authenticate(request)
        for ambient in self._of[Kind.AMBIENT]:
            return await ambient.authenticate(request)
        if request.token is not None and request.scheme is None:
            return None
        return request.identify(AnonymousUser())

    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        """Ask the authenticator that keeps a :class:`~.base.Credential` with an identity. The first of kind ``AMBIENT`` revalidates
        all others; without one, their users are read again."""
        places: dict[Authenticator | None, list[int]] = {}
        for at, identity in enumerate(identities):
            places.setdefault(_keeper(identity.credential), []).append(at)
        answers: list[Identity | Exception | None] = [None] * len(identities)
        for keeper, some in places.items():
            for at, answer in zip(
                some, await self._asked(keeper, [identities[at] for at in some]), strict=True
            ):
                answers[at] = answer
        return answers

    async def _asked(
        self, keeper: Authenticator | None, identities: Sequence[Identity]
    ) -> Sequence[Identity | Exception | None]:
        """Ask one authenticator. Its failure concerns only its own identities."""
        try:
            if keeper is None:
                for keeper in self._of[Kind.AMBIENT]:
                    return await keeper.revalidate(identities)
                return await revalidation.revalidate_in_threads(identities)
            return await keeper.revalidate(identities)
        except Exception as error:  # noqa: BLE001 - it is the answer for these identities
            return [error] * len(identities)

    def check(self) -> Sequence[CheckMessage]:
        return [message for each in self._all for message in each.check()]


def _keeper(credential: Credential | None) -> Authenticator | None:
    return None if credential is None else credential.authenticator
