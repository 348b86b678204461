"""The models have names that no other class of Holdfast has. The tables keep theirs, so nothing changes in the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("holdfast", "0004_many_topics")]

    operations = [
        migrations.RenameModel("Topic", "LogTopic"),
        migrations.RenameModel("Entry", "LogEntry"),
        migrations.RenameModel("Call", "CallRecord"),
        migrations.AlterModelOptions("LogTopic", {"verbose_name": "topic"}),
        migrations.AlterModelOptions("LogEntry", {"verbose_name": "entry", "verbose_name_plural": "entries"}),
        migrations.AlterModelOptions("CallRecord", {"verbose_name": "call"}),
    ]
