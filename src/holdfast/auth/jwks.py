"""Keys of a JSON Web Key Set (RFC 7517), read from the URL of an identity provider."""

import asyncio
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NoReturn

from jwt import PyJWK
from jwt.exceptions import PyJWTError

logger = logging.getLogger("holdfast.authentication")

FETCH_SECONDS = 5.0
"""Seconds that one request may take, from its start to the last byte. No token waits for longer."""

FETCH_EVERY_SECONDS = 10.0
"""Seconds between two requests at least: a token can name any key, and must not make this server ask for each."""

FRESH_SECONDS = 300.0
"""Age of the keys after which they are read again, in the background."""

OLD_SECONDS = 600.0
"""Age of the keys after which a token waits for that request, because no token has come for a while. A key that the provider has
withdrawn is valid for no longer than this, unless the provider does not answer."""

LARGEST_BYTES = 1 << 20


class KeysUnavailable(ConnectionError):
    """The keys are not known now: the provider did not answer, or was asked too short a time ago."""


class KeySet:
    """The keys of one provider, by their ``kid``. For event loops, of which a process has one as a rule.

    :meth:`find` waits for the provider only if it does not know the key, or if the keys are older than :data:`OLD_SECONDS`. At most
    one request is under way, in a worker thread, and requests are :data:`FETCH_EVERY_SECONDS` apart. Keys stay in use for as long as
    the provider does not answer.
    """

    def __init__(
        self,
        url: str,
        algorithms: Sequence[str],
        *,
        fetch: "Callable[[str], bytes] | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._algorithms = algorithms
        self._fetch = fetch or fetch_url
        self._now = now
        self._keys: Mapping[str | None, PyJWK] = {}
        self._tried = self._read = float("-inf")
        self._failed = False
        self._reading = False  # a thread is in the request, perhaps after that was given up
        self._request: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    async def find(self, kid: str | None) -> PyJWK | None:
        """Return the key of this id; ``None`` if the provider has none. A token without an id has the only key, if there is one.

        Raises :class:`KeysUnavailable` if the provider has not said.
        """
        age = self._now() - self._read
        if age > FRESH_SECONDS and self._may_ask():
            _ = self._ask()
        if self._known(kid) is not None and (age <= OLD_SECONDS or self._under_way() is None):
            return self._known(kid)
        asked = self._under_way() or (self._ask() if self._may_ask() else None)
        if asked is None:
            raise KeysUnavailable(
                f"the keys at {self._url} were read a moment ago, and are not read again yet"
            )
        await asyncio.shield(asked)  # others wait for the same request
        known = self._known(kid)
        if known is None and self._failed:
            raise KeysUnavailable(f"the keys at {self._url} could not be read")
        return known

    def _known(self, kid: str | None) -> PyJWK | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _may_ask(self) -> bool:
        return (
            self._under_way() is None
            and not self._reading
            and self._now() - self._tried >= FETCH_EVERY_SECONDS
        )

    def _under_way(self) -> "asyncio.Task[None] | None":
        if self._request is None:
            return None
        loop, task = self._request
        return task if loop is asyncio.get_running_loop() and not task.done() else None

    def _ask(self) -> "asyncio.Task[None]":
        self._tried = self._now()
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._refresh())
        self._request = loop, task
        return task

    async def _refresh(self) -> None:
        try:
            # The socket's timeout bounds each step only: a resolver, several addresses or a slow head can take longer.
            try:
                text = await asyncio.wait_for(asyncio.to_thread(self._read_url), FETCH_SECONDS)
            except TimeoutError:
                raise TimeoutError(f"no whole answer within {FETCH_SECONDS:g} seconds") from None
            self._keys = read_keys(text, self._algorithms)
        except Exception as error:  # noqa: BLE001 - the keys that are known stay
            self._failed = True
            logger.warning(
                "the keys of JSON Web Tokens at %s could not be read (%s: %s); %d keys are known and stay in use",
                self._url,
                type(error).__name__,
                error,
                len(self._keys),
            )
        else:
            self._failed = False
            self._read = self._now()

    def _read_url(self) -> bytes:
        """Return what is at the URL. In a worker thread, which nothing can stop: no other request begins while it runs."""
        self._reading = True
        try:
            return self._fetch(self._url)
        finally:
            self._reading = False


def read_keys(text: bytes, algorithms: Sequence[str]) -> dict[str | None, PyJWK]:
    """Return the keys of a set that can verify one of ``algorithms``. Others, such as keys for encryption, are left out.

    Raises ``ValueError`` if the text is no key set, or no key of it can be used.
    """
    given = json.loads(text)
    entries: Any = given.get("keys") if isinstance(given, dict) else None
    if type(entries) is not list:
        raise ValueError('this is no JSON Web Key Set: it has no list "keys"')
    keys: dict[str | None, PyJWK] = {}
    for entry in entries:
        key = _usable(entry, algorithms)
        if key is not None:
            keys[key.key_id] = key
    if not keys:
        raise ValueError(f"none of the {len(entries)} keys is for verifying {', '.join(algorithms)}")
    return keys


def _usable(entry: object, algorithms: Sequence[str]) -> PyJWK | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    # A key without "alg" may be used with each algorithm of its kind; PyJWT binds a key to one.
    family = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}.get(str(entry.get("kty")), ())
    named = entry.get("alg")
    candidates = (
        [named] if named else [each for each in algorithms if each.startswith(family)] if family else []
    )
    for algorithm in candidates:
        try:
            key = PyJWK(entry, algorithm)
        except (PyJWTError, ValueError, TypeError, KeyError):
            continue
        if key.algorithm_name in algorithms:
            return key
    return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead to another host, and to a connection without TLS."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> NoReturn:
        raise urllib.error.URLError(f"redirected to {newurl}; name that URL in the settings if it is right")


def fetch_url(url: str) -> bytes:
    """Return what is at a URL. Raises ``OSError`` or ``ValueError`` if that takes too long, or is too large."""
    end = time.monotonic() + FETCH_SECONDS
    opener = urllib.request.build_opener(_NoRedirects)
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - the settings name it
    read = b""
    with opener.open(request, timeout=FETCH_SECONDS) as response:
        while part := response.read1(65536):
            read += part
            if len(read) > LARGEST_BYTES:
                raise ValueError(f"more than {LARGEST_BYTES} bytes")
            if time.monotonic() > end:
                raise TimeoutError(f"not complete after {FETCH_SECONDS:g} seconds")
    return read
