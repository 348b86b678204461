"""Holdfast as a Django app."""

from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig


class HoldfastConfig(AppConfig):
    """Put ``"holdfast"`` into ``INSTALLED_APPS``, before ``"django.contrib.staticfiles"`` for its ``runserver``."""

    name = "holdfast"
    label = "holdfast"
    verbose_name = "Holdfast"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Django forbids what these import any earlier.
        from . import checks  # noqa: F401 - importing it registers the checks
        from .topics.registry import registry

        if find_spec("holdfast.wiring"):
            import_module("holdfast.wiring").install()
        registry.discover()
