"""Holdfast as a Django app."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate

from . import conf
from .extras import require_database_driver


class HoldfastConfig(AppConfig):
    """Put ``"holdfast"`` into ``INSTALLED_APPS``, before ``"django.contrib.staticfiles"`` for its ``runserver``."""

    name = "holdfast"
    label = "holdfast"
    verbose_name = "Holdfast"
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        # Before any app's models: the first of them would fail without naming the extra.
        chosen, _ = conf.read(getattr(settings, conf.NAME, {}))
        require_database_driver(settings.DATABASES, {"default", chosen.database})

    def ready(self) -> None:
        # Django forbids these imports any earlier.
        from . import (  # noqa: F401 - importing the checks registers them
            application_checks,
            authentication_checks,
            boundary_checks,
            checks,
            connection_checks,
            database_checks,
            html_checks,
            permission_checks,
            process_checks,
            route_checks,
            user_signals,
            wiring,
        )
        from .application import live_path
        from .log.postgresql_functions import complete
        from .topics.registry import registry
        from .transports.missing import answer_for_django

        post_migrate.connect(complete, sender=self)
        wiring.install()
        user_signals.connect()
        registry.discover()
        answer_for_django(live_path)
