"""The fleet's, with Django's protection against forged requests, which webhooks have to be exempt from."""

from tests.fleet.project.settings import *  # noqa: F403 - they are the same but for this
from tests.fleet.project.settings import MIDDLEWARE

MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware", *MIDDLEWARE]
