"""For gunicorn, as :mod:`.wsgi`; but nothing is published before the first request asks for it."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.fleet.project.settings"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
