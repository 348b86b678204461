"""Primary keys of users, of any type: one text names a user everywhere."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.sessions.backends.db import SessionStore
from django.core.checks import run_checks
from django.db import connection, models
from django.test.utils import override_settings
from django.utils.functional import SimpleLazyObject

import holdfast
from holdfast import Event, Presence, Topic, action, user_signals
from holdfast.auth import session_store as sessions
from holdfast.auth.base import AuthRequest, Identity
from holdfast.auth.revalidation import revalidate
from holdfast.auth.session import SessionAuthenticator
from holdfast.connections.caller import ConnectionCaller
from holdfast.control.commands import ControlCommand, Disconnect, Recheck
from holdfast.topics.access import owner_of
from holdfast.topics.owner import LONGEST, user_id
from tests.support.clock import turns
from tests.support.connected import Socket, fleet

MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


class Hashid:
    """The value of fields of the ``hashid`` kind: a number in the database, a text everywhere else."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __str__(self) -> str:
        return f"h{self.number:x}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashid) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)


class HashidField(models.BigIntegerField):  # type: ignore[type-arg]
    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, Hashid):
            return value
        return Hashid(int(value[1:], 16)) if isinstance(value, str) else Hashid(value)

    def from_db_value(self, value: Any, *args: Any) -> Any:
        return None if value is None else Hashid(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else self.to_python(value).number

    def value_to_string(self, instance: Any) -> str:
        return str(self.value_from_object(instance))


class Account(AbstractBaseUser):
    name = models.CharField(max_length=20, default="ada")
    is_active = models.BooleanField(default=True)
    objects: Any = BaseUserManager()
    USERNAME_FIELD = "name"

    class Meta:
        abstract = True


class BigUser(Account):
    id = models.BigAutoField(primary_key=True)

    class Meta:
        app_label = "holdfast"


class UuidUser(Account):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        app_label = "holdfast"


class SlugUser(Account):
    slug = models.CharField(primary_key=True, max_length=300)

    class Meta:
        app_label = "holdfast"


class HashidUser(Account):
    id = HashidField(primary_key=True)

    class Meta:
        app_label = "holdfast"


class ChildUser(UuidUser):
    """Its primary key is the link to its parent's row."""

    class Meta:
        app_label = "holdfast"


MODELS = (BigUser, UuidUser, SlugUser, HashidUser, ChildUser)
for model in MODELS:  # other tests see the app as it is
    apps.all_models["holdfast"].pop(model.__name__.lower())
apps.clear_cache()

KEYS: list[tuple[type[Any], Any, str]] = [
    (BigUser, 2**62, str(2**62)),
    (UuidUser, uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (ChildUser, uuid.UUID(int=8), "00000000-0000-0000-0000-000000000008"),
    (SlugUser, "ada-lovelace", "ada-lovelace"),
    (SlugUser, "o'br\u00efen #1 <b>~%s{x}\u2603", "o'br\u00efen #1 <b>~%s{x}\u2603"),
    (SlugUser, "0042", "0042"),
    (SlugUser, "me", "me"),
    (SlugUser, "x" * 220, "x" * 220),
    (HashidUser, Hashid(3000), "hbb8"),
]
each_key = pytest.mark.parametrize(("model", "pk", "text"), KEYS, ids=lambda value: ascii(value)[:30])


class Said(Event):
    n: int


class Inbox(Topic):
    route = "inbox/<me>"
    events = [Said]
    presence = Presence()

    async def may_join(self, user: Any) -> bool:
        return True

    @action
    async def say(self, caller: Any) -> str:
        owner: str = caller.owner
        return owner


class Room(Topic):
    route = "rooms/<str:user>"
    events = [Said]


@contextmanager
def table(model: type[Any], pk: Any) -> Iterator[Any]:
    """The tables of this user model, and one user in them, while it is the project's."""
    made = [base for base in (*model._meta.get_parent_list(), model) if not base._meta.abstract]
    with connection.schema_editor() as editor:
        for each in made:
            editor.create_model(each)
    for each in made:
        apps.all_models["holdfast"][each.__name__.lower()] = each
    apps.clear_cache()
    try:
        with override_settings(AUTH_USER_MODEL=f"holdfast.{model.__name__}"):
            user = model(**{"id" if model is ChildUser else "pk": pk})
            user.set_password("first")
            user.save(force_insert=True)
            yield user
    finally:
        for each in made:
            apps.all_models["holdfast"].pop(each.__name__.lower())
        apps.clear_cache()
        with connection.schema_editor() as editor:
            for each in reversed(made):
                editor.delete_model(each)


@pytest.fixture
def user(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Any]:
    with table(request.getfixturevalue("model"), request.getfixturevalue("pk")) as made:
        yield made


def sign_in(user: Any) -> str:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = user._meta.pk.value_to_string(user)
    session[BACKEND_SESSION_KEY] = MODEL_BACKEND
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    key: str = session.session_key
    return key


def ways(user: Any) -> list[Any]:
    """Return the ways in which code names a user."""
    ways = [
        user,
        SimpleLazyObject(lambda: user),
        user.pk,
        ConnectionCaller(identity=Identity(user=user), secret="c", connection_id="s"),
    ]
    if isinstance(user.pk, uuid.UUID):
        return [*ways, str(user.pk), str(user.pk).upper(), user.pk.hex]
    return [*ways, str(user.pk)]


@each_key
def test_a_session_finds_its_user(user: Any, model: Any, pk: Any, text: str) -> None:
    keys = [sign_in(user) for _ in range(3)]
    for together in (keys[:1], keys):
        found = sessions.find(together)
        assert [(each.user, user_id(each.user)) for each in found] == [(user, text)] * len(together)  # type: ignore[union-attr]


@each_key
def test_revalidation_notices_an_inactive_and_a_deleted_user(
    user: Any, model: Any, pk: Any, text: str
) -> None:
    identities = [
        Identity(user=user),
        Identity(user=user, session_key=sign_in(user)),
        Identity(user=SimpleLazyObject(lambda: user)),
    ]
    assert [now.user for now in revalidate(identities)] == [user] * 3  # type: ignore[union-attr]
    model.objects.filter(pk=pk).update(is_active=False)
    assert revalidate(identities) == [None] * 3
    model.objects.filter(pk=pk).delete()
    assert revalidate(identities) == [None] * 3


@each_key
def test_every_way_to_name_a_user_gives_the_same_owner(user: Any, model: Any, pk: Any, text: str) -> None:
    owner = ConnectionCaller(identity=Identity(user=user), secret="c", connection_id="s").owner
    assert {owner_of("evict", way) for way in ways(user)} == {owner}
    assert len(owner) <= 255  # the column of calls' keys
    assert (owner == f"user:{text}") == (len(text) <= LONGEST)


@each_key
def test_me_and_text_can_be_made_of_a_user(user: Any, model: Any, pk: Any, text: str) -> None:
    names = {Inbox(me=way).name for way in ways(user) if not isinstance(way, ConnectionCaller)}
    assert names == {f"inbox/{text}"}
    assert Inbox(me=user).me == text  # type: ignore[attr-defined]
    assert Room(user=user.pk).name == f"rooms/{text}"
    for name in ("inbox/me", f"inbox/{text}"):
        match = Inbox.declared.route.match(name, text)
        assert match is not None
        assert match.name == f"inbox/{text}"


@each_key
def test_commands_signals_calls_and_members_name_the_user_alike(
    user: Any, model: Any, pk: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[ControlCommand] = []
    monkeypatch.setattr(user_signals, "_give", orders.append)
    key = sign_in(user)

    async def joined(here: Any) -> Socket:
        socket: Socket = await here.processes[0].connect(user, session=key)
        socket.ask_to_join("inbox/me")
        # On a busy machine the presence of this very join may be told at once, too.
        (answer,) = [frame for frame in await socket.hear() if frame["type"] != "presence"]
        assert answer["topic"] == f"inbox/{text}"
        assert [member["id"] for member in answer["payload"]["members"]] == [text]
        return socket

    async def story() -> None:
        async with fleet(Inbox) as here:
            socket = await joined(here)
            assert socket.connection.user_id == text
            socket.ask("inbox/me", "say")
            (result,) = [frame for frame in await socket.hear() if frame["type"] == "result"]
            assert result["payload"] == socket.connection.owner
            await Inbox(me=user).aevict(user.pk)
            assert "left" in await socket.types()
            await holdfast.adisconnect(user.pk)
            await turns()
            assert socket.closed == 4403
            owner = socket.connection.owner
            user_signals.saved(
                sender=model, instance=user, created=False, update_fields=["password"], using="default"
            )
            user_signals.rights_changed(
                sender=None, instance=user, action="post_add", reverse=False, pk_set={1}, using="default"
            )
            user_signals._recheck([pk], "default")
            user_signals.deleted(sender=model, instance=user, using="default")
            named = [
                order.owners if isinstance(order, Recheck) else (order.owner,)
                for order in orders
                if isinstance(order, Recheck | Disconnect)
            ]
            assert named == [(owner,)] * len(named)
            assert len(named) >= 3

    asyncio.run(story())


@pytest.mark.parametrize("slug", ["a/b", "", "x\x00", "y" * 290, "\ud83d"], ids=ascii)
def test_a_key_that_cannot_be_in_a_topics_name_is_an_error_and_matches_nothing(slug: str) -> None:
    with pytest.raises(ValueError, match=r"^Inbox"):
        Inbox(me=slug)
    assert Inbox.declared.route.match("inbox/me", slug) is None


def test_a_composite_key_is_refused_by_a_check() -> None:
    class Tenant(AbstractBaseUser):
        pk = models.CompositePrimaryKey("tenant", "number")
        tenant = models.IntegerField()
        number = models.IntegerField()
        USERNAME_FIELD = "number"

        class Meta:
            app_label = "holdfast"

    try:
        with override_settings(AUTH_USER_MODEL="holdfast.Tenant"):
            assert "holdfast.E009" in [message.id for message in run_checks(tags=["holdfast"], databases=[])]
    finally:
        apps.all_models["holdfast"].pop("tenant")
        apps.clear_cache()
    assert "holdfast.E009" not in [message.id for message in run_checks(tags=["holdfast"], databases=[])]


@pytest.mark.parametrize(
    ("text", "bound"), [("7", True), ("007", True), ("8", False), ("x", False), (None, False)]
)
def test_a_connection_is_bound_to_the_session_that_names_its_user_in_whatever_text(
    text: str | None, bound: bool
) -> None:
    """Otherwise a logout would not find the connection."""
    session: Any = SessionStore("0123456789abcdefghijklmnopqrstuv")
    session._session_cache = {BACKEND_SESSION_KEY: MODEL_BACKEND}
    if text is not None:
        session._session_cache[SESSION_KEY] = text
    found = asyncio.run(
        SessionAuthenticator().authenticate(AuthRequest(user=get_user_model()(id=7), session=session))
    )
    assert found is not None
    assert found.session_key == (session.session_key if bound else None)
