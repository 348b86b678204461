"""Ordinary views with ordinary forms. live.py has the topic that shows their changes on open pages at once."""

from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from logbook.forms import CommentForm
from logbook.live import Comments
from logbook.models import Comment, Entry


@require_GET
@login_required
def entries(request: HttpRequest) -> HttpResponse:
    shown = Entry.objects.select_related("author").annotate(count=Count("comments"))
    return render(request, "logbook/entries.html", {"entries": shown})


# --8<-- [start:entry]
@login_required
def entry(request: HttpRequest, pk: int) -> HttpResponse:
    """One entry with its comments; a POST adds one."""
    entry = get_object_or_404(Entry.objects.select_related("author"), pk=pk)
    form = CommentForm(request.POST or None)
    if form.is_valid():
        form.instance.entry, form.instance.author = entry, request.user
        return redirect(form.save())
    topic = Comments(entry=pk)
    position, comments = topic.consistent_read(lambda: list(entry.comments.select_related("author")))
    context = {"entry": entry, "form": form, "topic": topic, "position": position, "comments": comments}
    return render(request, "logbook/entry.html", context, status=422 if form.errors else 200)


# --8<-- [end:entry]


@login_required
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a comment of one's own."""
    comment = get_object_or_404(Comment, pk=pk, author=request.user)
    form = CommentForm(request.POST or None, instance=comment)
    if form.is_valid():
        form.instance.edited = True
        return redirect(form.save())
    return render(request, "logbook/edit.html", {"comment": comment, "form": form})


@require_POST
@login_required
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    comment = get_object_or_404(Comment.objects.select_related("entry"), pk=pk, author=request.user)
    comment.delete()
    return redirect(comment.entry)
