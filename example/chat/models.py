"""Rooms, their members, and their messages."""

from typing import Any

from django.conf import settings
from django.core.validators import MaxLengthValidator, MinLengthValidator
from django.db import models
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone

BODY_LENGTH = 2000


class RoomQuerySet(models.QuerySet["Room"]):
    def open_to(self, user: Any) -> "RoomQuerySet":
        """The rooms that `user` is a member of."""
        return self.filter(memberships__user=user)

    def with_news_for(self, user: Any) -> "RoomQuerySet":
        """With the newest message of each (`last_id`, `last_author`, `last_body`), and how many the user has not read (`unread`)."""
        messages = Message.objects.filter(room=OuterRef("pk"))
        newest = messages.order_by("-id")
        read = Membership.objects.filter(room=OuterRef("room"), user=user).values("read_up_to")
        unread = messages.filter(id__gt=Subquery(read)).exclude(author=user).order_by()
        return self.annotate(
            last_id=Subquery(newest.values("id")[:1]),
            last_author=Subquery(newest.values("author__username")[:1]),
            last_body=Subquery(newest.values("body")[:1]),
            unread=Coalesce(Subquery(unread.values("room").annotate(n=Count("*")).values("n")), 0),
        )


class Room(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=60)
    purpose = models.CharField(max_length=120, blank=True)

    objects = RoomQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("chat:room", args=[self.slug])


class Membership(models.Model):
    room = models.ForeignKey(Room, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    read_up_to = models.BigIntegerField(default=0)  # the id of the newest message that the user has seen

    class Meta:
        constraints = [models.UniqueConstraint(fields=["room", "user"], name="one_membership_per_room")]

    def __str__(self) -> str:
        return f"{self.user} in {self.room}"


class Message(models.Model):
    """One message of a user. The ids of a room's messages are the order in which every page shows them."""

    room = models.ForeignKey(Room, models.CASCADE, related_name="messages")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="messages")
    body = models.TextField(validators=[MinLengthValidator(1), MaxLengthValidator(BODY_LENGTH)])
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["room", "id"], name="message_by_room")]

    def __str__(self) -> str:
        return f"{self.author}: {self.body[:60]}"
