"""ASGI application: `uvicorn harbor.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "harbor.settings")

django_application = get_asgi_application()  # first: it loads the apps, and with them every live.py

from django.conf import settings  # noqa: E402
from holdfast.asgi import with_live_topics  # noqa: E402

from harbor import bots  # noqa: E402

application = bots.beside(
    with_live_topics(django_application), "reports", *(["bots"] if settings.BOTS else [])
)
