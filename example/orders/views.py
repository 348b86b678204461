"""Pages of the chandlery, and the carrier's webhook. live.py has the topics that change the pages while they are open."""

import hashlib
import hmac
import json

from django.conf import settings
from django.contrib.auth.decorators import login_required, permission_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from orders import live, tasks
from orders.models import NEXT, Order, Product, State, advance

SHOWN = 30
STEPS = {"steps": [*NEXT, State.DELIVERED]}


@require_GET
@login_required
def mine(request: HttpRequest) -> HttpResponse:
    """The products, and the caller's orders."""
    topic = live.MyOrders(me=request.user.pk)
    orders = Order.objects.filter(customer=request.user).select_related("product", "customer")
    position, shown = topic.consistent_read(lambda: list(orders[:SHOWN]))
    context = {"topic": topic, "position": position, "orders": shown, "products": Product.objects.all()}
    return render(request, "orders/mine.html", context | STEPS)


@require_GET
@login_required
@permission_required("orders.view_order", raise_exception=True)
def counter(request: HttpRequest) -> HttpResponse:
    """Everyone's orders, for staff."""
    topic = live.Counter()
    orders = Order.objects.select_related("product", "customer")
    position, shown = topic.consistent_read(lambda: list(orders[:SHOWN]))
    return render(
        request, "orders/counter.html", {"topic": topic, "position": position, "orders": shown} | STEPS
    )


@require_POST
@login_required
def place(request: HttpRequest) -> HttpResponse:
    product = get_object_or_404(Product, name=request.POST.get("product", ""))
    return redirect(Order.objects.create(customer=request.user, product=product))


@require_POST
@login_required
@permission_required("orders.change_order", raise_exception=True)
def dispatch(request: HttpRequest, pk: int) -> HttpResponse:
    """Have an order packed and shipped in the background, by a Celery worker if there is one."""
    get_object_or_404(Order, pk=pk)
    tasks.later(pk)
    return redirect("orders:counter")


@csrf_exempt
@require_POST
def carrier(request: HttpRequest) -> HttpResponse:
    """The carrier's webhook: `{"order": 7, "state": "delivered"}`, with the HMAC of the body in `X-Signature`.

    The signature stands in for a session and for a CSRF token. Every failure gets the same answer, and a notice that
    arrives twice changes nothing.
    """
    secret = getattr(settings, "CARRIER_SECRET", None)
    if not secret:
        raise Http404
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), request.headers.get("X-Signature", "").encode()):
        return HttpResponse(status=403)
    try:
        notice = json.loads(request.body)
        pk, state = int(notice["order"]), State(notice["state"])
    except (ValueError, KeyError, TypeError):
        return HttpResponseBadRequest("expected an order's number and its state")
    with transaction.atomic():
        get_object_or_404(Order, pk=pk)
        advance(pk, to=state)
    return HttpResponse(status=204)
