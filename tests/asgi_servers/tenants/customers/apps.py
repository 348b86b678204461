from django.apps import AppConfig


class CustomersConfig(AppConfig):
    name = "tests.asgi_servers.tenants.customers"
    label = "customers"
