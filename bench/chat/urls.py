"""No pages: only the WebSockets are measured."""

urlpatterns: list[object] = []
