"""Models of the log's tables, for migrations, for the admin and for reading from the shell.

Holdfast reads and writes the tables with its own SQL (``holdfast.log``). Writing through the models breaks the promises of the
log.
"""

from django.db import models

from holdfast.log import tables
from holdfast.topics.routes import OURS


class LogSeed(models.Model):
    """The seed of the log, in one row: topics' first epochs are computed from it."""

    id = models.SmallIntegerField(primary_key=True)
    seed = models.CharField(max_length=32)

    class Meta:
        db_table = tables.SEED
        verbose_name = "seed"

    def __str__(self) -> str:
        return self.seed


class LogTopicQuerySet(models.QuerySet["LogTopic"]):
    def of_project(self) -> "LogTopicQuerySet":
        """Leave out the topics that Holdfast itself uses."""
        return self.exclude(name__startswith=OURS)


class LogTopic(models.Model):
    """A durable topic that had an event. Its row is locked while a batch of entries is numbered, and never longer."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=255)
    epoch = models.CharField(max_length=32)
    head = models.BigIntegerField(default=0, help_text="The last offset given out; 0: none yet.")
    created_at = models.DateTimeField()

    objects = LogTopicQuerySet.as_manager()

    class Meta:
        db_table = tables.TOPIC
        verbose_name = "topic"
        # Not unique=True: on PostgreSQL that brings a second index, for LIKE.
        constraints = [models.UniqueConstraint(fields=["name"], name="holdfast_topic_name")]

    def __str__(self) -> str:
        return self.name


class LogEntry(models.Model):
    """An event in the log. The first entry of a topic is where its log starts; no other row says so."""

    pk = models.CompositePrimaryKey("topic_id", "offset")
    # Only the sequencer inserts here, and it holds the lock of the topic's row: a check per row would find nothing.
    topic = models.ForeignKey(
        LogTopic, models.CASCADE, db_index=False, db_constraint=False, related_name="entries"
    )
    offset = models.BigIntegerField()
    name = models.CharField(max_length=100)
    payload = models.TextField(help_text="JSON text.")
    exclude = models.CharField(max_length=64, help_text="The id of a client that does not receive it.")
    created_at = models.DateTimeField(help_text="When it got its offset.")

    class Meta:
        db_table = tables.ENTRY
        verbose_name = "entry"
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.topic_id}:{self.offset} {self.name}"


class Outbox(models.Model):
    """The transactional outbox: an event without an offset, staged by a transaction. The sequencer takes it after the commit.

    ``topic`` is a name, not a key: inside an application's transaction no topic's row may be created or locked.
    """

    id = models.BigAutoField(primary_key=True)
    topic = models.CharField(max_length=255)
    name = models.CharField(max_length=100)
    payload = models.TextField(help_text="JSON text.")
    exclude = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        db_table = tables.OUTBOX
        verbose_name_plural = "outbox"
        indexes = [models.Index(fields=["topic", "id"], name="holdfast_outbox_topic")]

    def __str__(self) -> str:
        return f"{self.topic} {self.name}"


class CallRecord(models.Model):
    """A call that is carried out once. It runs while ``answer`` is null, and is lost if ``answer`` is null after ``expires_at``."""

    id = models.BigAutoField(primary_key=True)
    owner = models.CharField(max_length=255)
    key = models.CharField(max_length=100)
    target = models.TextField()
    answer = models.TextField(null=True, help_text="JSON text.")  # noqa: DJ001 - null is not an empty answer
    failed = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = tables.CALL
        verbose_name = "call"
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="holdfast_call_owner_key")]
        indexes = [models.Index(fields=["created_at"], name="holdfast_call_created")]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"


class Ticket(models.Model):
    """An unused connection ticket. The row is deleted when the ticket is used, or a while after it has expired."""

    id = models.BigAutoField(primary_key=True)
    digest = models.CharField(max_length=64, help_text="The hash of the ticket.")
    owner = models.CharField(max_length=64, help_text="The hash of the user's primary key.")
    record = models.TextField(help_text="JSON text: the user, the session, the topics.")
    expires_at = models.FloatField(help_text="Seconds since 1970.")

    class Meta:
        db_table = "holdfast_ticket"
        constraints = [models.UniqueConstraint(fields=["digest"], name="holdfast_ticket_digest")]
        indexes = [
            models.Index(fields=["owner"], name="holdfast_ticket_owner"),
            models.Index(fields=["expires_at"], name="holdfast_ticket_expires"),
        ]

    def __str__(self) -> str:
        return self.digest[:8]
