"""The seed from which topics' first epochs are computed, so that a topic needs no row before its first event."""

from typing import Any

from django.db import migrations, models

from holdfast.log.epochs import new_seed
from holdfast.log.postgresql_functions import install


def plant(apps: Any, schema_editor: Any) -> None:
    seeds = apps.get_model("holdfast", "LogSeed").objects.using(schema_editor.connection.alias)
    seeds.get_or_create(id=1, defaults={"seed": new_seed()})
    install(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("holdfast", "0005_model_names")]

    operations = [
        migrations.CreateModel(
            name="LogSeed",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("seed", models.CharField(max_length=32)),
            ],
            options={"verbose_name": "seed", "db_table": "holdfast_seed"},
        ),
        migrations.RunPython(plant, migrations.RunPython.noop),
    ]
