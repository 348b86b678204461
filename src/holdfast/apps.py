"""Holdfast as a Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class HoldfastConfig(AppConfig):
    """Put ``"holdfast"`` into ``INSTALLED_APPS``, before ``"django.contrib.staticfiles"`` for its ``runserver``."""

    name = "holdfast"
    label = "holdfast"
    verbose_name = "Holdfast"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Django forbids what these import any earlier.
        from . import checks, connection_checks, database_checks, signals, wiring  # noqa: F401 - importing the checks registers them
        from .log.functions import complete
        from .topics.registry import registry

        post_migrate.connect(complete, sender=self)
        wiring.install()
        signals.connect()
        registry.discover()
