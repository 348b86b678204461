"""ASGI application that Channels' live server serves in another process."""

from django.core.asgi import get_asgi_application

from holdfast.asgi import with_live_topics

application = with_live_topics(get_asgi_application())
