"""A Django project with only the parts that the reference is read from."""

import django
from django.conf import settings


def set_up() -> None:
    """Set Django up once, so that commands and template tags can be imported."""
    if settings.configured:
        return
    settings.configure(
        INSTALLED_APPS=[
            "holdfast",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    )
    django.setup()
