from django.db import models


class Membership(models.Model):
    """Membership in a private room."""

    room = models.SlugField()
    user = models.ForeignKey("auth.User", on_delete=models.CASCADE)


class Saying(models.Model):
    """A message, and the user who called the action."""

    room = models.SlugField()
    text = models.TextField()
