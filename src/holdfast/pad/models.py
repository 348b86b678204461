"""Models of shared documents: the compacted state of each, and the updates since.

:mod:`.storage` reads and writes them. To delete a document, delete its ``Document``.
"""

from django.db import models


class Document(models.Model):
    """One shared document. Its row is locked while an update is stored."""

    topic = models.CharField(max_length=255, unique=True, help_text="The name of its topic.")
    state = models.BinaryField(default=b"", help_text="The compacted document, as an update of Yjs.")
    vector = models.BinaryField(default=b"", help_text="How much of each editor's work is stored.")
    size = models.PositiveIntegerField(default=0, help_text="Bytes of the state and of the updates since.")
    pending = models.PositiveIntegerField(default=0, help_text="Updates since the state was compacted.")
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name = "shared document"

    def __str__(self) -> str:
        return self.topic


class Update(models.Model):
    """One update of a document, as a client sent it, since the state was compacted."""

    document = models.ForeignKey(Document, models.CASCADE, related_name="updates")
    data = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.document_id}: {len(self.data)} bytes"


class Part(models.Model):
    """A piece of an update that is longer than one message, until the last piece arrives."""

    document = models.ForeignKey(Document, models.CASCADE, related_name="parts")
    upload = models.CharField(
        max_length=100, help_text="The client's public id, and its name for the update."
    )
    number = models.PositiveIntegerField()
    data = models.TextField(help_text="Base64.")
    sent_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["document", "upload", "number"], name="holdfast_pad_part_number")
        ]

    def __str__(self) -> str:
        return f"{self.upload} {self.number}"
