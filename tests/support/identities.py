"""Identities that tests share."""

from django.contrib.auth.models import AnonymousUser

from holdfast.auth.base import Identity

ANONYMOUS = Identity(user=AnonymousUser())
