from django.apps import AppConfig


class CustomersConfig(AppConfig):
    name = "tests.servers.tenants.customers"
    label = "customers"
