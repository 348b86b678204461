"""Views of Holdfast."""

import math

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from . import tickets
from .conf import settings
from .protocol import codes

MOST_TOPICS = 100


@never_cache
@csrf_protect
@require_POST
def ticket(request: HttpRequest) -> JsonResponse:
    """Issue a ticket to the user of the session: ``{"ticket": "…", "expires_in": 30}``.

    ``topics`` of the form, which may be repeated, bind the ticket to these topics. It is bound to the session in any case. Without a
    signed-in user the answer is 403, with topics that do not exist 400, and with too many unused tickets 429.
    """
    if not request.user.is_authenticated:
        return _error(403, codes.UNAUTHENTICATED)
    topics = request.POST.getlist("topics") or None
    if topics is not None and len(topics) > MOST_TOPICS:
        return _error(400, codes.TOO_MANY_TOPICS)
    try:
        issued = tickets.issue(request.user, topics=topics, session=getattr(request, "session", None))
    except ValueError:
        return _error(400, codes.FORBIDDEN)
    except tickets.TooManyTickets as error:
        answer = _error(429, codes.RATE_LIMITED)
        answer["Retry-After"] = str(math.ceil(error.retry_after))
        return answer
    return JsonResponse({"ticket": issued, "expires_in": settings().ticket_seconds})


def _error(status: int, code: codes.Code) -> JsonResponse:
    return JsonResponse({"code": code.name, "message": code.message}, status=status)
