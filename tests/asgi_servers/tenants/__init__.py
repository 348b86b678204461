"""A project whose tenants have a schema each, which also holds their users (django-tenants)."""
