from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "tests.asgi_servers.project"
    label = "project"
