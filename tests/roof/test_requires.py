"""``requires``: Django's permissions decide on joins and on calls."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.checks import CheckMessage
from django.test import TestCase, override_settings

from holdfast import Topic, action
from holdfast.permission_checks import check_permissions
from holdfast.testing import CallError, JoinError, Live, LiveClient
from holdfast.topics.registry import registry

VIEW, CHANGE = "auth.view_group", "auth.change_group"
done: list[str] = []


class Bridge(Topic):
    """The permission alone is the rule."""

    route = "bridge"
    requires = VIEW

    @action(requires=CHANGE)
    def steer(self, caller: Any) -> None:
        done.append("steer")

    @action(requires=[VIEW, CHANGE])
    async def whistle(self, caller: Any) -> None:
        done.append("whistle")

    @action
    def look(self, caller: Any) -> None:
        done.append("look")


class Cabin(Topic):
    """Both must say yes."""

    route = "cabin/<me>"
    requires = (VIEW, CHANGE)
    closed: ClassVar[bool] = False

    def may_join(self, user: Any) -> bool:
        return not Cabin.closed


class Chart(Topic):
    route = "chart"
    requires = VIEW

    async def may_join(self, user: Any) -> bool:
        return not Cabin.closed


def permission(name: str) -> Permission:
    label, _, codename = name.partition(".")
    return Permission.objects.get(codename=codename, content_type__app_label=label)


class Aboard(TestCase):
    ada: ClassVar[User]
    crew: ClassVar[Group]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.ada = User.objects.create_user("ada")
        cls.crew = Group.objects.create(name="crew")
        cls.ada.groups.add(cls.crew)

    def setUp(self) -> None:
        done.clear()
        Cabin.closed = False
        self.enterContext(registry.override([Bridge, Cabin, Chart]))
        self.live = self.enterContext(Live())

    def give(self, *names: str) -> None:
        self.crew.permissions.add(*map(permission, names))

    def aboard(self, *topics: str) -> LiveClient:
        client = self.live.connect(User.objects.get(pk=self.ada.pk))
        for topic in topics:
            client.join(topic)
        return client

    def refusal(self, client: LiveClient, topic: str) -> tuple[str, str]:
        with pytest.raises(JoinError) as refused:
            client.join(topic)
        return refused.value.code, refused.value.message

    def forbidden(self, client: LiveClient, topic: str, name: str) -> None:
        with pytest.raises(CallError) as refused:
            client.call(topic, name)
        assert refused.value.code == "forbidden"


class Joins(Aboard):
    def test_a_user_without_the_permission_is_refused_like_one_who_asks_for_no_topic(self) -> None:
        for who in (self.aboard(), self.live.connect()):
            unknown = self.refusal(who, "nothing")
            assert unknown == self.refusal(who, "bridge") == self.refusal(who, "chart")

    def test_the_permission_alone_admits(self) -> None:
        self.give(VIEW)
        self.aboard("bridge", "chart")
        self.refusal(self.live.connect(), "bridge")  # no anonymous client has it

    def test_of_several_all_are_needed(self) -> None:
        self.give(VIEW)
        self.refusal(self.aboard(), "cabin/me")
        self.give(CHANGE)
        self.aboard("cabin/me")

    def test_beside_may_join_both_must_say_yes(self) -> None:
        self.give(VIEW, CHANGE)
        Cabin.closed = True
        client = self.aboard("bridge")
        self.refusal(client, "cabin/me")
        self.refusal(client, "chart")

    def test_a_superuser_has_every_permission_and_an_inactive_user_none(self) -> None:
        User.objects.filter(pk=self.ada.pk).update(is_superuser=True)
        self.aboard("bridge")
        User.objects.filter(pk=self.ada.pk).update(is_active=False)
        self.refusal(self.aboard(), "bridge")


class Calls(Aboard):
    def test_an_action_runs_only_for_a_caller_who_has_its_permissions(self) -> None:
        self.give(VIEW)
        client = self.aboard("bridge")
        for name in ("steer", "whistle"):
            self.forbidden(client, "bridge", name)
        client.call("bridge", "look")
        assert done == ["look"]
        self.give(CHANGE)
        for name in ("steer", "whistle"):
            client.call("bridge", name)
        assert done == ["look", "steer", "whistle"]

    def test_a_right_withdrawn_between_two_calls_counts_at_once(self) -> None:
        self.give(VIEW, CHANGE)
        client = self.aboard("bridge")
        client.call("bridge", "steer")
        self.crew.permissions.remove(permission(CHANGE))
        self.forbidden(client, "bridge", "steer")
        assert client.connected


class NothingKept(Aboard):
    """The test kit keeps no answers: each call asks the database, although Django keeps them on the user object."""

    def test_a_right_that_ended_without_a_signal_counts_at_the_next_call(self) -> None:
        self.give(VIEW, CHANGE)
        client = self.aboard("bridge")
        client.call("bridge", "steer")
        Group.permissions.through.objects.filter(permission=permission(CHANGE)).delete()
        self.forbidden(client, "bridge", "steer")
        self.forbidden(client, "bridge", "whistle")
        client.call("bridge", "look")
        Group.permissions.through.objects.all().delete()
        self.forbidden(client, "bridge", "look")
        assert client.expect_left("bridge") == "forbidden"
        assert done == ["steer", "look"]


class Signals(Aboard):
    def test_a_user_who_loses_the_permission_loses_the_topic(self) -> None:
        self.give(VIEW)
        client = self.aboard("bridge", "chart")
        self.crew.permissions.remove(permission(VIEW))
        assert {client.expect_left("bridge"), client.expect_left("chart")} == {"forbidden"}

    def test_a_permission_that_is_deleted_ends_what_it_allowed(self) -> None:
        self.give(VIEW)
        self.ada.user_permissions.add(permission(CHANGE))
        client = self.aboard("bridge", "cabin/me")
        permission(CHANGE).delete()
        assert client.expect_left(f"cabin/{self.ada.pk}") == "forbidden"
        permission(VIEW).delete()
        assert client.expect_left("bridge") == "forbidden"


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def declare(requires: Any, **more: Any) -> type[Topic]:
    return type("Room", (Topic,), {"route": "rooms/<slug:room>", "requires": requires, **more})


@pytest.mark.parametrize(
    "given", ["view_group", "", "auth.", ".view", "auth view", [], (), [1], 5, True, b"auth.view"]
)
def test_what_names_no_permission_is_refused_when_the_class_is_defined(given: Any) -> None:
    with pytest.raises(TypeError, match=r'^Room\.requires: .*requires = "orders\.view_order"'):
        declare(given)
    with pytest.raises(TypeError, match=r"^@action\(requires=…\): "):
        action(requires=given)


def test_a_subclass_takes_over_or_replaces_what_it_requires() -> None:
    inherited: Any = type("Sub", (Bridge,), {"route": "sub"})
    removed: Any = type("Sub", (Bridge,), {"route": "sub", "requires": None})
    assert (inherited.declared.requires, removed.declared.requires) == ((VIEW,), ())


def found(*topics: type[Topic], **settings: Any) -> Sequence[CheckMessage]:
    with registry.override(topics), override_settings(**settings):
        return check_permissions()


def test_w034_a_permission_that_no_model_declares() -> None:
    assert found(Bridge, Cabin, Chart) == []
    (typo,) = found(declare("auth.veiw_group"))
    assert (typo.id, typo.msg) == (
        "holdfast.W034",
        "Room requires 'auth.veiw_group', but no model of the app 'auth' declares it: no user has it, except superusers.",
    )

    @action(requires="shop.sell")
    def sell(self: Any, caller: Any) -> None: ...

    (other,) = found(declare(VIEW, sell=sell))
    assert "Room.sell requires 'shop.sell', but no installed app has the label 'shop'" in other.msg


def test_w035_permissions_without_the_app_that_stores_them() -> None:
    apps = ["holdfast", "django.contrib.contenttypes"]
    messages = found(Bridge, INSTALLED_APPS=apps)
    assert [message.id for message in messages] == ["holdfast.W035"]


@pytest.fixture(autouse=True)
def _no_other_topics() -> Iterator[None]:
    with registry.override([]):
        yield
