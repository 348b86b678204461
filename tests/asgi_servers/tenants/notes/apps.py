from django.apps import AppConfig


class NotesConfig(AppConfig):
    name = "tests.asgi_servers.tenants.notes"
    label = "notes"
