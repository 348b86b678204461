"""Receivers of Django's signals about users, which revoke live connections at once, unless ``HOLDFAST["REVOKE_ON_USER_SIGNALS"]`` is off.

A logout, or a login as another user, ends the connections of that session. The deletion of a user ends all of the user's
connections. A new password, a deactivation, a change of rights or the deletion of a token of Django REST framework makes every
server re-check the connections of the users concerned. Changes that send no signal (``update()`` on a queryset, a session deleted by hand) are found by the scheduled
re-check.

The receivers run inside the requests and transactions of other code. Therefore none of them raises, and none leaves a
transaction unusable: an error is logged, and the scheduled re-check finds the change.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from itertools import product
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models import Model, Q
from django.db.models.signals import ModelSignal, m2m_changed, post_delete, post_init, post_save, pre_delete

from . import runtime
from .conf import settings
from .connections.revocation import fingerprint
from .control.commands import ControlCommand, Disconnect, EndSession, Recheck
from .log.transactions import apart, when_committed, will_roll_back
from .topics.owner import owner_of_key

logger = logging.getLogger("holdfast.user_signals")

WATCHED = ("password", "is_active", "is_staff", "is_superuser")
"""Fields of a user whose change may end a connection or a right."""

PASSWORD, *FLAGS = WATCHED
"""Their values are kept with every user that is read, as long as that object lives: the password as it is, the flags as one of
few tuples that all users share. A dict of both would be 200 of the 650 bytes of a user."""

READ_PASSWORD, READ_FLAGS = "_holdfast_password", "_holdfast_flags"

# Compared by identity: a value that was deferred, or of a field that the model does not have.
_NOT_READ: Any = ...

_flags: dict[tuple[Any, ...], tuple[Any, ...]] = {
    each: each for each in product((True, False, _NOT_READ), repeat=len(FLAGS))
}

MANY = 1000
"""Members of a group above which all connections are re-checked, instead of those of each member."""

COOKIES = "django.contrib.sessions.backends.signed_cookies"


def connect() -> None:
    """Connect the receivers, only to the models concerned: a receiver of all deletions would slow down every ``delete()`` of
    the project."""
    if not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group, Permission, PermissionsMixin

    user_logged_out.connect(logged_out, dispatch_uid="holdfast")
    user_logged_in.connect(logged_in, dispatch_uid="holdfast")
    user_model = get_user_model()
    for model in apps.get_models():
        if issubclass(model, user_model):
            for signal, receiver in ((post_init, remember), (post_save, saved), (post_delete, deleted)):
                _listen(signal, receiver, model)
    if apps.is_installed("rest_framework.authtoken"):
        for model in apps.get_app_config("authtoken").get_models():
            _listen(post_delete, token_deleted, model)
    if issubclass(user_model, PermissionsMixin):
        _listen(m2m_changed, rights_changed, user_model.groups.through)
        _listen(m2m_changed, rights_changed, user_model.user_permissions.through)
        _listen(m2m_changed, group_changed, Group.permissions.through)
        _listen(pre_delete, group_goes, Group)
        _listen(pre_delete, permission_goes, Permission)


def _listen(signal: ModelSignal, receiver: Callable[..., None], sender: type[Model]) -> None:
    signal.connect(receiver, sender=sender, dispatch_uid="holdfast")


def harmless(receiver: Callable[..., None]) -> Callable[..., None]:
    """Make ``receiver`` log its exceptions instead of raising them."""

    @wraps(receiver)
    def harmless_receiver(sender: Any, **kwargs: Any) -> None:
        try:
            receiver(sender, **kwargs)
        except Exception:
            logger.exception(
                "live connections could not be revoked after the signal %s of %s; the next scheduled re-check"
                " (REAUTHORIZE_SECONDS) finds the change",
                receiver.__name__,
                getattr(sender, "__qualname__", sender),
            )

    return harmless_receiver


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@harmless
def logged_out(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """End the connections of the session. The user's other devices stay connected."""
    session = getattr(request, "session", None)
    if user is None or session is None:
        return
    owner = owner_of_key(user.pk)
    if django_settings.SESSION_ENGINE == COOKIES:
        _order(Disconnect(owner=owner, gone=True))  # the server cannot tell such sessions apart
    elif session.session_key is not None:
        _order(EndSession(owner=owner, session=fingerprint(session.session_key)))


@harmless
def logged_in(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """End the connections of the session that a login has replaced: that of another user, or one from before a new password.

    Django has emptied that session already (``flush``), so that it has no key; the request's cookie still has the old key. After
    a login over an anonymous session, or once more as the same user, the session has a key here, and nothing ends.
    """
    session = getattr(request, "session", None)
    before = getattr(request, "COOKIES", {}).get(django_settings.SESSION_COOKIE_NAME)
    if session is None or not before:
        return
    if django_settings.SESSION_ENGINE == COOKIES:
        was = type(session)(before).get(SESSION_KEY)
        if was is not None and was != session.get(SESSION_KEY):
            _order(Disconnect(owner=owner_of_key(user._meta.pk.to_python(was)), gone=True))
    elif session.session_key is None:
        _order(EndSession(session=fingerprint(before)))


@harmless
def remember(sender: Any, instance: Model, **kwargs: Any) -> None:
    """Note the watched fields of a user when the row is read."""
    values = instance.__dict__
    _note(values, values)


@harmless
def saved(
    sender: Any,
    instance: Model,
    created: bool,
    update_fields: Iterable[str] | None,
    using: str,
    **kwargs: Any,
) -> None:
    values = instance.__dict__
    before = _read_before(values)
    written = {name for name in WATCHED if update_fields is None or name in update_fields}
    changed = {name for name in written if before.get(name) != values.get(name)}
    _note(values, before | {name: values[name] for name in written if name in values})
    if created or not changed:
        return
    owner = owner_of_key(instance.pk)
    if "password" in changed and django_settings.SESSION_ENGINE == COOKIES:
        _order(Disconnect(owner=owner, gone=True), using=using)
    else:
        _order(Recheck(owners=(owner,)), using=using)


@harmless
def deleted(sender: Any, instance: Model, using: str, **kwargs: Any) -> None:
    _order(Disconnect(owner=owner_of_key(instance.pk), gone=True), using=using)


@harmless
def token_deleted(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """Re-check the user of a token of Django REST framework: connections with that token end."""
    _order(Recheck(owners=(owner_of_key(instance.user_id),)), using=using)


def _note(values: dict[str, Any], watched: Mapping[str, Any]) -> None:
    """Keep the values of the watched fields with a user, whose attributes are ``values``."""
    values[READ_FLAGS] = _shared(tuple([watched.get(name, _NOT_READ) for name in FLAGS]))
    values[READ_PASSWORD] = watched.get(PASSWORD, _NOT_READ)


def _shared(flags: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the one tuple of these flags. A field of the project's own may have other values than ``True`` and ``False``."""
    try:
        return _flags.get(flags, flags)
    except TypeError:  # not hashable
        return flags


def _read_before(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the watched fields as they were kept, without those that were not read."""
    kept = (values.get(READ_PASSWORD, _NOT_READ), *values.get(READ_FLAGS, ()))
    return {name: value for name, value in zip(WATCHED, kept, strict=False) if value is not _NOT_READ}


# ── rights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@harmless
def rights_changed(
    sender: Any,
    instance: Model,
    action: str,
    reverse: bool,
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """Re-check users whose groups or permissions have changed, from either end of the relation."""
    if not reverse:
        if action in ("post_add", "post_remove", "post_clear"):
            _recheck([instance.pk], using)
    elif action in ("post_add", "post_remove"):
        _recheck(pk_set or (), using)
    elif action == "pre_clear":  # afterwards the members are unknown; the command waits for the same commit
        members: Any = instance
        _recheck(_read(members.user_set.using(using).values_list("pk", flat=True)[: MANY + 1], using), using)


@harmless
def group_changed(
    sender: Any,
    instance: Any,
    action: str,
    reverse: bool,
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """Re-check the members of groups whose permissions have changed, from either end of the relation."""
    if action not in ("post_add", "post_remove", "pre_clear" if reverse else "post_clear"):
        return
    from django.contrib.auth.models import Group

    if not reverse:
        groups: Any = [instance.pk]
    elif pk_set is not None:
        groups = pk_set
    else:
        groups = _read(instance.group_set.using(using).values_list("pk", flat=True), using)
    _recheck_members(Group, groups, using)


@harmless
def group_goes(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    _recheck_members(sender, [instance.pk], using)


@harmless
def permission_goes(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """Re-check the users who have a permission that is deleted, directly or by a group."""
    from django.contrib.auth import get_user_model

    users: Any = get_user_model()
    holders = users._base_manager.using(using).filter(
        Q(groups__permissions=instance.pk) | Q(user_permissions=instance.pk)
    )
    _recheck(_read(holders.values_list("pk", flat=True).distinct()[: MANY + 1], using), using)


def _recheck_members(group: Any, groups: Iterable[Any], using: str) -> None:
    from django.contrib.auth import get_user_model

    users: Any = get_user_model()
    members = users._base_manager.using(using).filter(groups__in=groups)
    _recheck(_read(members.values_list("pk", flat=True).distinct()[: MANY + 1], using), using)


def _read(keys: Iterable[Any], using: str) -> list[Any]:
    """Return the result of a query. An error in it leaves the caller's transaction as it was."""
    if will_roll_back(using):
        return []
    with apart(using):
        return list(keys)


def _recheck(users: Iterable[Any], using: str) -> None:
    from django.contrib.auth import get_user_model

    pk: Any = get_user_model()._meta.pk
    owners = tuple(owner_of_key(pk.to_python(key)) for key in users)
    if owners:
        _order(Recheck(owners=None if len(owners) > MANY else owners), using=using)


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _order(order: ControlCommand, *, using: str | None = None) -> None:
    """Issue the command with the transaction of the log's database, or after that of another database."""
    if not settings().revoke_on_user_signals:
        return
    if using is None or using == runtime.current().log.alias:
        _give(order)
    else:
        when_committed(partial(_give, order), using)


def _give(order: ControlCommand) -> None:
    # A logout must not fail because the log does not answer.
    runtime.current().control.issue_with_retry(order)
