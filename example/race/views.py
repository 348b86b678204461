from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from race.live import Race


@require_GET
@login_required
def race(request: HttpRequest) -> HttpResponse:
    return render(request, "race/race.html", {"topic": Race()})
