"""The WebSocket routes of the project's own consumers."""

from django.urls import path

from .bridge import Bridge
from .consumers import Chat, Echo

websocket_urlpatterns = [
    path("ws/echo/", Echo.as_asgi()),
    path("ws/chat/<slug:room>/", Chat.as_asgi()),
    path("ws/bridge/<slug:room>/", Bridge.as_asgi()),
]
