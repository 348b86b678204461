"""Makes the database of LIVE_DATABASE, with users who are signed in; prints their session cookies as JSON.

python -m tests.asgi_servers.project.prepare
"""

import json
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.asgi_servers.project.settings")


def main() -> None:
    django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.db import connection

    from .models import Membership

    call_command("migrate", verbosity=0)  # first: the tables of the project refer to those of the users
    call_command("migrate", run_syncdb=True, verbosity=0)
    users = {}
    for name in ("ada", "grace"):
        user = User.objects.create_user(name)
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        users[name] = {"id": str(user.pk), "cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}
    Membership.objects.create(room="private-ada", user=User.objects.get(username="ada"))
    connection.close()
    print(json.dumps(users))


if __name__ == "__main__":
    main()
