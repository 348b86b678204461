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
    {"key": "latency", "label": "From call to event, 50 and 99 of 100", "unit": "ms"},
    {"key": "lag", "label": "The event loop comes late by", "unit": "ms"},
    {"key": "cpu", "label": "CPU of all servers, in cores", "unit": ""},
    {"key": "memory", "label": "Memory of all servers", "unit": "MB"},
]


@require_GET
@login_required
def bridge(request: HttpRequest) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied
    return render(request, "bridge/bridge.html", {"topic": Bridge(), "plots": PLOTS})
