from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from bridge.live import Bridge

PLOTS: list[dict[str, Any]] = [
    {"key": "connections", "label": "Connections", "unit": ""},
    {"key": "delivered", "label": "Deliveries a second", "unit": ""},
    {"key": "latency", "label": "Call to event: median, 99th percentile", "unit": "ms"},
    {"key": "lag", "label": "Lag of the event loop", "unit": "ms"},
    {"key": "cpu", "label": "CPU of all servers", "unit": "cores"},
    {"key": "memory", "label": "Memory of all servers", "unit": "MB"},
]


@require_GET
@login_required
def bridge(request: HttpRequest) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied
    return render(request, "bridge/bridge.html", {"topic": Bridge(), "plots": PLOTS})
