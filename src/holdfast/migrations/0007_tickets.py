"""A table for connection tickets."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("holdfast", "0006_seed"),
    ]

    operations = [
        migrations.CreateModel(
            name="Ticket",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("digest", models.CharField(help_text="The hash of the ticket.", max_length=64)),
                ("owner", models.CharField(help_text="The hash of the user's primary key.", max_length=64)),
                ("record", models.TextField(help_text="JSON text: the user, the session, the topics.")),
                ("expires_at", models.FloatField(help_text="Seconds since 1970.")),
            ],
            options={
                "db_table": "holdfast_ticket",
                "indexes": [
                    models.Index(fields=["owner"], name="holdfast_ticket_owner"),
                    models.Index(fields=["expires_at"], name="holdfast_ticket_expires"),
                ],
                "constraints": [models.UniqueConstraint(fields=("digest",), name="holdfast_ticket_digest")],
            },
        ),
    ]
