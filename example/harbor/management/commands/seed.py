"""`manage.py seed`: fill an empty database with the contents of the demo."""

from importlib import import_module
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils.module_loading import module_has_submodule

PASSWORD = "holdfast"
STAFF = "ada"
USERS = [STAFF, "grace", "linus"]


class Command(BaseCommand):
    help = "Creates the demo's users, and what each app's seeds.py holds. What is there already is left as it is."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            users = {name: user(name) for name in USERS}
            for app in apps.get_app_configs():
                if app.module and module_has_submodule(app.module, "seeds"):
                    for line in import_module(f"{app.name}.seeds").seed(users):
                        self.stdout.write(line)
        self.stdout.write(f"Users {', '.join(USERS)} have the password {PASSWORD!r}; {STAFF} is staff.")


def user(name: str) -> Any:
    """The user of that name; made with the demo's password if there is none."""
    user, made = get_user_model().objects.get_or_create(username=name)
    if made:
        user.set_password(PASSWORD)
        user.is_staff = user.is_superuser = name == STAFF
        user.save()
    return user
