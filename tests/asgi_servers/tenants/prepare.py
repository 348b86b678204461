"""Makes two tenants, each with a user ada who is signed in there; prints the cookies as JSON, by schema.

python -m tests.asgi_servers.tenants.prepare
"""

import json
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.asgi_servers.tenants.settings")


def main() -> None:
    django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django_tenants.utils import schema_context

    from .customers.models import Customer, Domain

    call_command("migrate_schemas", shared=True, verbosity=0)
    users = {}
    Domain.objects.create(
        domain="127.0.0.1", tenant=Customer.objects.create(schema_name="public"), is_primary=True
    )
    for schema in ("acme", "globex"):
        customer = Customer(schema_name=schema)
        customer.save(verbosity=0)
        Domain.objects.create(domain=f"{schema}.localhost", tenant=customer, is_primary=True)
        with schema_context(schema):
            user = User.objects.create_user(f"ada-{schema}")
            session = SessionStore()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.save()
        cookie = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
        users[schema] = {"id": str(user.pk), "cookie": cookie}
    print(json.dumps(users))


if __name__ == "__main__":
    main()
