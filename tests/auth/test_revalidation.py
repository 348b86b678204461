"""What has become of users who did not come by session: of a token, or of the project's own middleware."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils.functional import SimpleLazyObject

from holdfast.auth.revalidation import identify
from holdfast.connections.reauthorize import Claim

pytestmark = pytest.mark.django_db


def found(*users: Any) -> list[Any]:
    return identify([Claim(user, None) for user in users])


def make_user(name: str, **more: Any) -> Any:
    return get_user_model().objects.create_user(name, **more)


def test_each_is_read_anew_and_who_is_gone_or_inactive_is_nobody() -> None:
    ada, ben, cem = make_user("ada"), make_user("ben"), make_user("cem")
    get_user_model().objects.filter(pk=ada.pk).update(is_staff=True)
    get_user_model().objects.filter(pk=ben.pk).update(is_active=False)
    get_user_model().objects.filter(pk=cem.pk).delete()
    now, *others = found(ada, ben, cem)
    assert (now, now.is_staff, now is ada, others) == (ada, True, False, [None, None])


def test_a_user_who_comes_wrapped_is_read_as_any_other() -> None:
    ada, ben = make_user("ada"), make_user("ben")
    assert found(SimpleLazyObject(lambda: ada), ben) == [ada, ben]
    get_user_model().objects.filter(pk=ada.pk).update(is_active=False)
    assert found(SimpleLazyObject(lambda: ada), ben) == [None, ben]


def test_what_the_project_put_on_the_user_stays() -> None:
    ada = make_user("ada")
    ada.scopes = ["read"]
    assert found(ada)[0].scopes == ["read"]


def test_users_that_are_no_models_are_believed() -> None:
    robot = object()
    assert found(robot, make_user("ada"))[0] is robot
