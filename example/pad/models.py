"""Pads: texts that people write together. The text itself is kept by holdfast.pad."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse


class PadQuerySet(models.QuerySet["Pad"]):
    def writable_by(self, user: Any) -> "PadQuerySet":
        """The pads that `user` may change: those that name the user, and those that name no user."""
        return self.filter(Q(writers=user) | Q(writers=None)).distinct()


class Pad(models.Model):
    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=60)
    purpose = models.CharField(max_length=120, blank=True)
    writers = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="pads")

    objects = PadQuerySet.as_manager()

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("pad:pad", args=[self.slug])
