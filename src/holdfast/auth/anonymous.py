"""The identity of an anonymous client of which nothing else is known.

Apart from :mod:`.base`, because Django's ``AnonymousUser`` can be imported only where its app is installed, and processes that
only publish need not have it.
"""

from django.contrib.auth.models import AnonymousUser

from .base import Identity

ANONYMOUS = Identity(user=AnonymousUser())
