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
        from . import (  # noqa: F401 - importing the checks registers them
            application_checks,
            checks,
            connection_checks,
            database_checks,
            signals,
            wiring,
        )
        from .log.functions import complete
        from .management.application import live_path
        from .topics.registry import registry
        from .transports.missing import answer_for_django

        post_migrate.connect(complete, sender=self)
        wiring.install()
        signals.connect()
        registry.discover()
        answer_for_django(live_path)
