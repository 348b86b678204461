"""Notices for users, kept until they are read, and after."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class Notice(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notices")
    text = models.CharField(max_length=200)
    url = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(default=timezone.now)
    read = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["user", "-id"], name="notice_by_user"),
            models.Index(fields=["user"], condition=models.Q(read=False), name="notice_unread"),
        ]

    def __str__(self) -> str:
        return self.text
