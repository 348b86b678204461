from django.db import models


class Note(models.Model):
    """A note, in the schema of each tenant."""

    board = models.SlugField()
    text = models.TextField()
