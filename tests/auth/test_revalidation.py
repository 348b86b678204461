"""Revalidation of identities that came from a token or from the project's own middleware, and not from a session."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from holdfast.auth.base import Identity
from holdfast.auth.revalidation import revalidate

pytestmark = pytest.mark.django_db


def users_now(*users: Any) -> list[Any]:
    """Return the user of each identity after it was revalidated, or the result that replaced the identity."""
    found = revalidate([Identity(user=user) for user in users])
    return [now.user if isinstance(now, Identity) else now for now in found]


def make_user(name: str, **more: Any) -> Any:
    return get_user_model().objects.create_user(name, **more)


def test_each_user_is_read_again_and_a_deleted_or_inactive_one_ends_the_identity() -> None:
    ada, ben, cem = make_user("ada"), make_user("ben"), make_user("cem")
    get_user_model().objects.filter(pk=ada.pk).update(is_staff=True)
    get_user_model().objects.filter(pk=ben.pk).update(is_active=False)
    get_user_model().objects.filter(pk=cem.pk).delete()
    now, *others = users_now(ada, ben, cem)
    assert (now, now.is_staff, now is ada, others) == (ada, True, False, [None, None])


def test_a_user_inside_a_lazy_object_is_read_like_any_other() -> None:
    ada, ben = make_user("ada"), make_user("ben")
    assert users_now(SimpleLazyObject(lambda: ada), ben) == [ada, ben]
    get_user_model().objects.filter(pk=ada.pk).update(is_active=False)
    assert users_now(SimpleLazyObject(lambda: ada), ben) == [None, ben]


def test_attributes_that_the_project_put_on_a_user_stay() -> None:
    ada = make_user("ada")
    ada.scopes = ["read"]
    assert users_now(ada)[0].scopes == ["read"]


def test_two_connections_of_one_user_keep_the_attributes_of_each() -> None:
    make_user("ada")
    reader, writer = get_user_model().objects.get(), get_user_model().objects.get()
    reader.scopes, writer.scopes = ["read"], ["write"]
    assert [user.scopes for user in users_now(reader, writer)] == [["read"], ["write"]]


def test_a_user_that_is_no_model_instance_always_holds() -> None:
    robot = object()
    assert users_now(robot, make_user("ada"))[0] is robot


def test_claims_host_and_address_stay_and_the_user_is_the_new_one() -> None:
    ada = make_user("ada")
    before = Identity(user=ada, claims={"scope": "read"}, host="a.example.com", address="192.0.2.1")
    (now,) = revalidate([before])
    assert isinstance(now, Identity)
    assert (now.claims, now.host, now.address) == (before.claims, before.host, before.address)
    assert (now.user, now.user is ada) == (ada, False)


@pytest.mark.parametrize(("seconds", "holds"), [(60, True), (-1, False)])
def test_an_identity_holds_until_it_expires(seconds: int, holds: bool) -> None:
    expires = timezone.now() + timedelta(seconds=seconds)
    (now,) = revalidate([Identity(user=make_user("ada"), expires_at=expires)])
    assert (now is not None) == holds
