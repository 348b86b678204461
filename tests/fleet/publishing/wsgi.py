"""WSGI application for gunicorn. With `--preload` this module runs before the workers are forked, otherwise in each worker."""

import os
import time

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.fleet.publishing.settings"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from tests.fleet.project.live import Room, Shouted  # noqa: E402

Room(room="wsgi").publish(Shouted(f"import-{os.getpid()}", time.monotonic()))
