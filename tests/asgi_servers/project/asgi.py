"""The short form: consumers beside topics."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.asgi_servers.project.settings")

django_application = get_asgi_application()

from holdfast.asgi import with_live_topics  # noqa: E402

from .routing import websocket_urlpatterns  # noqa: E402

application = with_live_topics(django_application, websocket=websocket_urlpatterns)

# ── for the tests only ──

from .adoption import if_wanted  # noqa: E402
from .retries import shorten_if_wanted  # noqa: E402

shorten_if_wanted()
application = if_wanted(application)
