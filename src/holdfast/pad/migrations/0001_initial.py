"""The tables of shared documents."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Document",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("topic", models.CharField(help_text="The name of its topic.", max_length=255, unique=True)),
                (
                    "state",
                    models.BinaryField(default=b"", help_text="The compacted document, as an update of Yjs."),
                ),
                (
                    "vector",
                    models.BinaryField(default=b"", help_text="How much of each editor's work is stored."),
                ),
                (
                    "size",
                    models.PositiveIntegerField(
                        default=0, help_text="Bytes of the state and of the updates since."
                    ),
                ),
                (
                    "pending",
                    models.PositiveIntegerField(
                        default=0, help_text="Updates since the state was compacted."
                    ),
                ),
                ("changed_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "shared document",
            },
        ),
        migrations.CreateModel(
            name="Update",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("data", models.BinaryField()),
                (
                    "document",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="updates",
                        to="holdfast_pad.document",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Part",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "upload",
                    models.CharField(
                        help_text="The client's public id, and its name for the update.", max_length=100
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("data", models.TextField(help_text="Base64.")),
                ("sent_at", models.DateTimeField()),
                (
                    "document",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parts",
                        to="holdfast_pad.document",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("document", "upload", "number"), name="holdfast_pad_part_number"
                    )
                ],
            },
        ),
    ]
