import faulthandler
import signal

from django.apps import AppConfig


class FleetConfig(AppConfig):
    name = "tests.fleet.project"
    label = "fleet"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import sabotage

        faulthandler.register(signal.SIGUSR1)  # shows where a process hangs

        sabotage.break_what_was_asked()
