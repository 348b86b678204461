import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.asgi_servers.tenants.settings")

django_application = get_asgi_application()

from holdfast.asgi import with_live_topics  # noqa: E402

application = with_live_topics(django_application)
