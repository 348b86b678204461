from django_tenants.models import DomainMixin, TenantMixin


class Customer(TenantMixin):
    """A tenant."""


class Domain(DomainMixin):
    """A host of a tenant."""
