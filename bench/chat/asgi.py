import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.chat.settings")

django_application = get_asgi_application()

from django.urls import path  # noqa: E402

from bench.chat.consumers import Chat  # noqa: E402
from holdfast.asgi import with_live_topics  # noqa: E402

application = with_live_topics(django_application, websocket=[path("ws/chat/<slug:room>/", Chat.as_asgi())])
