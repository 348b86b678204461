"""Rendering of a fragment for all subscribers: without a request, and in one language and time zone for all."""

from collections.abc import Mapping, Sequence
from typing import Any, Never

from django.conf import settings
from django.http import HttpRequest
from django.template import Context
from django.template.loader import render_to_string
from django.utils import timezone, translation

from holdfast.protocol.construction import shortened

OF_ONE_REQUEST = ("csp_nonce", "csrf_token", "messages", "perms", "request", "user")
"""Names that a page's template gets from its request. They mean one user, and a fragment goes to all subscribers."""


class NeedsRequest(Exception):
    """A template that was rendered for all subscribers uses a value that belongs to one request, such as ``{{ user }}``."""


class _Refusal:
    """The value of a name of :data:`OF_ONE_REQUEST` in a fragment: each use raises, and is remembered.

    It is remembered because ``{% if %}`` ignores exceptions. Django calls a callable value as soon as a template names it.
    """

    def __init__(self, name: str, where: str) -> None:
        self._name, self._where = name, where
        self.error: NeedsRequest | None = None

    def __call__(self, *args: object) -> Never:
        self.error = NeedsRequest(
            f"{self._where}: the template uses {self._name!r}, which belongs to one request, and the fragment goes to all "
            f"subscribers. Pass what it shows in the context under another name, such as {{'author': message.author}}; or "
            f"pass {self._name!r} itself, if all subscribers may see it"
        )
        raise self.error

    def __getattr__(self, name: str) -> Any:
        # Template engines look whether a value has such names before they use it.
        if name.startswith("__") or name in ("do_not_call_in_templates", "alters_data", "contextfunction"):
            raise AttributeError(name)
        self()

    def __bool__(self) -> bool:
        self()

    def __str__(self) -> str:
        self()

    def __getitem__(self, key: object) -> Any:
        self()

    def __iter__(self) -> Any:
        self()


def render(
    where: str, template: str | Sequence[str], context: Mapping[str, Any] | None, language: str | None
) -> str:
    """Return the fragment. Django's engines escape the values in it, as they do in pages.

    Raises :class:`NeedsRequest` when the template uses a value of a request, and what the template raises.
    """
    given = _checked(where, context)
    refusals = {name: _Refusal(name, where) for name in OF_ONE_REQUEST if name not in given}
    # The publisher's language and time zone are those of one user's request, too.
    with translation.override(language or settings.LANGUAGE_CODE), timezone.override(None):
        text = render_to_string(template, {**refusals, **given})
    for refusal in refusals.values():
        if refusal.error is not None:
            raise refusal.error
    return text


def _checked(where: str, context: Any) -> Mapping[str, Any]:
    if context is None:
        return {}
    if isinstance(context, Context) or not isinstance(context, Mapping):
        raise TypeError(
            f"{where}: expected the context as a dict, got {shortened(context)}; write "
            f'{where}("room/_message.html", {{"message": message}}, …)'
        )
    for name, value in context.items():
        if isinstance(value, HttpRequest):
            raise TypeError(
                f"{where}: context[{name!r}] is a request, which belongs to one user, and the fragment goes to all "
                "subscribers; pass the values that the template shows"
            )
    return context
