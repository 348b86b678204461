"""Shared editing as a Django app."""

from typing import Any

from django.apps import AppConfig

from holdfast.extras import Want


class PadConfig(AppConfig):
    """Put ``"holdfast.pad"`` into ``INSTALLED_APPS``, after ``"holdfast"``."""

    name = "holdfast.pad"
    label = "holdfast_pad"
    verbose_name = "Holdfast: shared documents"
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        Want(extra="pad", because='"holdfast.pad" is in INSTALLED_APPS').require()
