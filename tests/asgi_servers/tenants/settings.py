"""Settings of the project with tenants: the apps that all tenants share, and those that each has.

LIVE_OURS      "shared" (default) or "tenants": among which apps Holdfast is
LIVE_CONTEXT   the HANDLER_CONTEXT, empty for none
"""

import os

from tests.asgi_servers.project.settings import *  # noqa: F403
from tests.asgi_servers.project.settings import HOLDFAST

ROOT_URLCONF = "tests.asgi_servers.tenants.urls"
ALLOWED_HOSTS = [".localhost", "127.0.0.1"]

_OURS = ["holdfast"]
_WHERE = os.environ.get("LIVE_OURS", "shared")
SHARED_APPS = [
    "django_tenants",
    *(_OURS if _WHERE == "shared" else []),
    "django.contrib.contenttypes",
    "tests.asgi_servers.tenants.customers.apps.CustomersConfig",
]
TENANT_APPS = [
    *(_OURS if _WHERE == "tenants" else []),
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "tests.asgi_servers.tenants.notes.apps.NotesConfig",
]
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]
TENANT_MODEL = "customers.Customer"
TENANT_DOMAIN_MODEL = "customers.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

_CONTEXT = os.environ.get("LIVE_CONTEXT", "tests.asgi_servers.tenants.context.tenant_of_host")
if _CONTEXT:
    HOLDFAST = {**HOLDFAST, "HANDLER_CONTEXT": _CONTEXT}
