"""Rows that the application writes beside its events."""

from django.db import models


class Fact(models.Model):
    """The effect of one event: a row that is written in the same transaction."""

    topic = models.CharField(max_length=255)
    value = models.CharField(max_length=100)

    def __str__(self) -> str:
        return f"{self.topic} {self.value}"


class Delivery(models.Model):
    """A call of a webhook that has been recorded."""

    key = models.CharField(max_length=100, unique=True)

    def __str__(self) -> str:
        return self.key


class Ban(models.Model):
    """A user who may not enter a topic for now."""

    user_id = models.BigIntegerField()
    topic = models.CharField(max_length=255)

    def __str__(self) -> str:
        return f"{self.user_id} {self.topic}"
