"""Entries of the harbor's logbook, and comments on them."""

from typing import Any

from django.conf import settings
from django.core.validators import MaxLengthValidator
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone

COMMENT_LENGTH = 1000


class Entry(models.Model):
    title = models.CharField(max_length=120)
    body = models.TextField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-at"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("logbook:entry", args=[self.pk])


class Comment(models.Model):
    entry = models.ForeignKey(Entry, models.CASCADE, related_name="comments")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    body = models.TextField(validators=[MaxLengthValidator(COMMENT_LENGTH)])
    at = models.DateTimeField(default=timezone.now)
    edited = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.author}: {self.body[:60]}"

    # --8<-- [start:save]
    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save in one transaction with the receivers of `post_save`, among them that of live.py."""
        with transaction.atomic():
            super().save(*args, **kwargs)

    # --8<-- [end:save]

    def get_absolute_url(self) -> str:
        return f"{self.entry.get_absolute_url()}#comment-{self.pk}"
