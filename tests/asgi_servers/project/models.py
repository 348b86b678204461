from django.db import models


class Membership(models.Model):
    """Who may enter a private room."""

    room = models.SlugField()
    user = models.ForeignKey("auth.User", on_delete=models.CASCADE)


class Saying(models.Model):
    """What was said, by whom the action was called."""

    room = models.SlugField()
    text = models.TextField()
