"""The context manager of docs/how-to/tenants.md."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import PermissionDenied
from django_tenants.utils import get_tenant_domain_model, tenant_context

from holdfast import HandlerInfo


@contextmanager
def tenant_of_host(info: HandlerInfo) -> Iterator[None]:
    domains = get_tenant_domain_model().objects.select_related("tenant")
    domain = domains.filter(domain=info.host).first()
    if domain is None:
        raise PermissionDenied(f"no tenant has the domain {info.host}")
    with tenant_context(domain.tenant):
        yield
