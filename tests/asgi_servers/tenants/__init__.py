"""A project whose tenants have a schema each, users among what is in them (django-tenants)."""
