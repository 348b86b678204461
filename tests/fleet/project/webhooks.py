"""The webhook that docs/how-to/publish-from-elsewhere.md shows."""

import hashlib
import hmac
import json

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from .live import OrderPaid, OrderTopic
from .models import Delivery


@csrf_exempt
@require_POST
def paid(request: HttpRequest) -> HttpResponse:
    expected = hmac.new(settings.WEBHOOK_SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), request.headers.get("X-Signature", "").encode()):
        return HttpResponse(status=403)
    notice = json.loads(request.body)
    with transaction.atomic():
        _, new = Delivery.objects.get_or_create(key=notice["id"])  # unique: they send some twice
        if new:
            OrderTopic(pk=notice["order"]).publish(OrderPaid(notice["order"]))
    return HttpResponse(status=204)
