"""One page, for the bench itself: the server's counters."""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path

from holdfast import wiring


async def counters(request: HttpRequest) -> JsonResponse:
    """``log_reads``: how often events were read from the log for subscribers that were behind; ``fell_behind``: how often a
    subscriber did not read and was left to the log."""
    service = wiring.service()
    hub: Any = await service.runtime.hub()
    return JsonResponse(
        {
            "log_reads": hub.log_reads,
            "fell_behind": hub.counters.subscribers_fell_behind,
            "connections": len(service.connections),
        }
    )


urlpatterns = [path("counters", counters)]
