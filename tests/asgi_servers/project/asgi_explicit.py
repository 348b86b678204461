"""The long form: Channels' own parts, written out."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.asgi_servers.project.settings")

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from holdfast.asgi import (  # noqa: E402
    answering_readiness,
    below_script_name,
    lifespan,
    live_urlpatterns,
    origin_checked,
)

from .routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": answering_readiness(django_application),
        "websocket": origin_checked(
            AuthMiddlewareStack(below_script_name(URLRouter([*live_urlpatterns(), *websocket_urlpatterns])))
        ),
        "lifespan": lifespan,
    }
)

# ── for the tests only ──

from .adoption import if_wanted  # noqa: E402

application = if_wanted(application)
