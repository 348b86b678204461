"""A wrapper under a name of its own, as django-prometheus and psqlextra have."""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """SQLite, with something more."""
