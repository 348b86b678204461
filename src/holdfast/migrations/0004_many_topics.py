"""In PostgreSQL the log numbers the events of many topics with a few statements, and creates a topic in the first one."""

from typing import Any

from django.db import migrations

from holdfast.log.postgresql_functions import install


def update_functions(apps: Any, schema_editor: Any) -> None:
    install(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("holdfast", "0003_append")]

    operations = [migrations.RunPython(update_functions, migrations.RunPython.noop)]
