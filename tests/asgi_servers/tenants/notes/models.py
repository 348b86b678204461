from django.db import models


class Note(models.Model):
    """In the schema of each tenant."""

    board = models.SlugField()
    text = models.TextField()
