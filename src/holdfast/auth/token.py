"""Tokens: the authenticator that lets a function of the project say whose a token is."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import msgspec

from holdfast import runtime
from holdfast.threads.handler_context import HandlerInfo

from . import revalidation
from .base import Authenticator, AuthRequest, Identity, Kind


class TokenAuthenticator(Authenticator):
    """Authenticates tokens by ``find``.

    ``find`` is a ``def``, which runs in a worker thread, or an ``async def``. It takes the token and returns its user; an
    :class:`~.base.Identity`, if the token has claims or an expiry; or ``None`` if the token is not valid.
    """

    kind: ClassVar = Kind.TOKEN

    def __init__(self, find: Callable[[str], Any | Awaitable[Any]]) -> None:
        self._find: Any = find
        self._is_async = inspect.iscoroutinefunction(find)

    async def authenticate(self, request: AuthRequest) -> Identity | None:
        threads, info = runtime.current().threads, HandlerInfo(host=request.host)
        handle: Any = threads.handle_async if self._is_async else threads.handle
        found = await handle(info, self._find, request.token)
        if isinstance(found, Identity):
            return msgspec.structs.replace(
                found, host=request.host, address=request.address, query_string=request.query_string
            )
        return None if found is None else request.identify(found)

    async def revalidate(self, identities: Sequence[Identity]) -> Sequence[Identity | Exception | None]:
        return await revalidation.revalidate_in_threads(identities)
