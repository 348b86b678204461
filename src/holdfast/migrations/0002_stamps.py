"""The log's functions say when entries got their offsets."""

from typing import Any

from django.db import migrations

from holdfast.log.postgresql_functions import install


def update_functions(apps: Any, schema_editor: Any) -> None:
    install(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("holdfast", "0001_initial")]

    operations = [migrations.RunPython(update_functions, migrations.RunPython.noop)]
