from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "tests.servers.project"
    label = "project"
