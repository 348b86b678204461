"""In PostgreSQL an event that is published outside a transaction takes one round trip."""

from typing import Any

from django.db import migrations

from holdfast.log.postgresql_functions import install


def update_functions(apps: Any, schema_editor: Any) -> None:
    install(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("holdfast", "0002_stamps")]

    operations = [migrations.RunPython(update_functions, migrations.RunPython.noop)]
