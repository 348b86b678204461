"""WSGI application for gunicorn, as :mod:`.wsgi`, that publishes nothing before the first request asks for it."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.fleet.project.settings"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
