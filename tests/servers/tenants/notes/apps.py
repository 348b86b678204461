from django.apps import AppConfig


class NotesConfig(AppConfig):
    name = "tests.servers.tenants.notes"
    label = "notes"
