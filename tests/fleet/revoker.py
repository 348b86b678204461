"""The process that takes rights away, as a view, a task or a command would: ``python -m tests.fleet.revoker``.

Each line that it reads is a JSON list, the name of one of the functions here and its arguments; each line that it writes is
what that returned.
"""

import json
import sys
from typing import Any

import django

django.setup()

from django.contrib.auth import logout  # noqa: E402
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError  # noqa: E402
from django.http import HttpRequest  # noqa: E402

import holdfast  # noqa: E402
from holdfast import runtime  # noqa: E402
from holdfast.control.commands import TOPIC  # noqa: E402
from tests.fleet.project.live import Shouted, Vault  # noqa: E402

VAULT: Any = Vault(vault="one")

_requests: dict[str, HttpRequest] = {}


def prepare(count: int) -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    User.objects.bulk_create(User(username=f"user-{number}", password="!") for number in range(count))
    runtime.current().log.heads([TOPIC])


def entitle(name: str) -> None:
    """Give the permission that opens the vault, by a group with this user only. For ``own-…``: as the user's own permission."""
    user, permission = User.objects.get(username=name), Permission.objects.get(codename="view_group")
    if name.startswith("own-"):
        user.user_permissions.add(permission)
    else:
        group = Group.objects.create(name=name)
        group.permissions.add(permission)
        user.groups.add(group)


def entitle_all(names: list[str]) -> None:
    for name in names:
        entitle(name)


def make(name: str) -> None:
    User.objects.create(username=name, password="!")
    entitle(name)


def shout(value: str) -> None:
    VAULT.publish(Shouted(value, 0.0))


def orders() -> int:
    """Return the number of commands in the log."""
    return runtime.current().log.heads([TOPIC])[TOPIC].offset


# ── what takes rights away ───────────────────────────────────────────────────────────────────────────────────────────


def evict(name: str) -> None:
    VAULT.evict(User.objects.get(username=name))


def disconnect(name: str) -> None:
    holdfast.disconnect(User.objects.get(username=name))


def new_password(name: str) -> None:
    user = User.objects.get(username=name)
    user.set_password("battery staple")
    user.save()


def deactivate(name: str) -> None:
    user = User.objects.get(username=name)
    user.is_active = False
    user.save()


def delete(name: str) -> None:
    User.objects.get(username=name).delete()


def leave_group(name: str) -> None:
    User.objects.get(username=name).groups.remove(Group.objects.get(name=name))


def empty_group(name: str) -> None:
    Group.objects.get(name=name).user_set.clear()


def take_permission_from_group(name: str) -> None:
    Group.objects.get(name=name).permissions.clear()


def delete_group(name: str) -> None:
    Group.objects.get(name=name).delete()


def take_permission_from_user(name: str) -> None:
    User.objects.get(username=name).user_permissions.clear()


# ── a logout that begins before an outage and ends in it ─────────────────────────────────────────────────────────────


def begin_logout(name: str, session_key: str) -> None:
    from django.contrib.sessions.backends.db import SessionStore

    request = HttpRequest()
    request.session = SessionStore(session_key)
    request.session.load()
    request.user = User.objects.get(username=name)
    _requests[name] = request


def end_logout(name: str) -> str:
    """Return the outcome of the logout."""
    try:
        logout(_requests[name])
    except DatabaseError:
        return "the session could not be deleted"
    return "done"


def main() -> None:
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        print(json.dumps(globals()[what](*arguments)), flush=True)


if __name__ == "__main__":
    main()
