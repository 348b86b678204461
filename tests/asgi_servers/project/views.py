"""Pages of an ordinary project, and a view that tells the tests how the server is doing."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from holdfast import metrics, wiring
from holdfast.server.adopted import AdoptedProtocol
from holdfast.transports.websocket import AsgiWebSocket

from .live import Feed, Price, Prices, Quotes, Room, Said, Ticker, Typing
from .models import Saying


def me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.user))


def say(request: HttpRequest, room: str) -> HttpResponse:
    """Publish ``count`` events of ``size`` characters, in one transaction."""
    count, size = int(request.GET.get("count", 1)), int(request.GET.get("size", 1))
    texts = [f"{number}:".ljust(size, ".") for number in range(count)]
    with transaction.atomic():
        Room(room=room).publish(*(Said(number, text) for number, text in enumerate(texts)))
    return HttpResponse("said")


def take_back(request: HttpRequest, room: str) -> HttpResponse:
    """Publish, and roll back."""
    try:
        with transaction.atomic():
            Room(room=room).publish(Said(0, "never"), Typing("nobody"))
            raise ArithmeticError
    except ArithmeticError:
        return HttpResponse("taken back")


async def say_async(request: HttpRequest, room: str) -> HttpResponse:
    await Room(room=room).apublish(Said(0, "from an async view"))
    return HttpResponse("said")


def tick(request: HttpRequest, symbol: str) -> HttpResponse:
    count, size = int(request.GET.get("count", 1)), int(request.GET.get("size", 1))
    start = int(request.GET.get("start", 0))
    topic = (Feed if "feed" in request.GET else Ticker)(symbol=symbol)
    for number in range(start, start + count):
        topic.publish(Typing(f"{number}:".ljust(size, ".")))
    return HttpResponse("ticked")


def price(request: HttpRequest, market: str) -> HttpResponse:
    """``count`` prices of three symbols in turn, in messages of more than ``size`` characters."""
    start, count, size = (int(request.GET[key]) for key in ("start", "count", "size"))
    topic = (Quotes if "quotes" in request.GET else Prices)(market=market)
    for number in range(start, start + count):
        topic.publish(Price("abc"[number % 3], number, "." * size))
    return HttpResponse("priced")


def group_send(request: HttpRequest, room: str) -> HttpResponse:
    """Call ``group_send``, as a project that had Channels before would, once for every parameter ``type``."""
    for kind in request.GET.getlist("type"):
        message: dict[str, Any] = {"type": kind, "id": 7, "text": "by group_send"}
        async_to_sync(get_channel_layer().group_send)(Room(room=room).group, message)
    return HttpResponse("sent")


def sayings(request: HttpRequest, room: str) -> JsonResponse:
    return JsonResponse(list(Saying.objects.filter(room=room).values_list("text", flat=True)), safe=False)


dozing = 0


async def doze(request: HttpRequest, seconds: str) -> HttpResponse:
    """A request that takes a while."""
    global dozing
    dozing += 1
    await asyncio.sleep(float(seconds))
    dozing -= 1
    return HttpResponse("awake")


def client(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.META["REMOTE_ADDR"])


poured = 0


async def pour(request: HttpRequest, megabytes: int) -> StreamingHttpResponse:
    """A long response, as fast as it is taken."""

    async def stream() -> AsyncIterator[bytes]:
        global poured
        poured = 0
        for _ in range(megabytes):
            yield bytes(1 << 20)
            poured += 1

    return StreamingHttpResponse(stream())


async def drip(request: HttpRequest) -> StreamingHttpResponse:
    """A response that comes in parts."""

    async def drops() -> AsyncIterator[bytes]:
        for seconds in request.GET.getlist("after"):
            await asyncio.sleep(float(seconds))
            yield f"after {seconds}\n".encode()

    return StreamingHttpResponse(drops())


def _memory() -> int:
    """Bytes that are resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def sinks(request: HttpRequest) -> JsonResponse:
    """Return the number of transports of live connections in this process's memory, open or not."""
    gc.collect()
    return JsonResponse(
        sum(type(thing) in (AsgiWebSocket, AdoptedProtocol) for thing in gc.get_objects()), safe=False
    )


async def state(request: HttpRequest) -> JsonResponse:
    """Return the counts of the objects that this process holds."""
    service = wiring.service()
    hub = await service.runtime.hub()
    subscriptions = {
        name: len(stream.subscriptions) for name, stream in hub._streams.items() if stream.subscriptions
    }
    return JsonResponse(
        {
            "pid": os.getpid(),
            "dozing": dozing,
            "poured": poured,
            "connections": len(service.connections),
            "subscriptions": subscriptions,
            "tasks": len(asyncio.all_tasks()),
            "memory": _memory(),
            "counters": metrics.snapshot(),
        }
    )
