"""gunicorn's configuration for ``--preload`` and gevent: Django must not be loaded before the patch."""

from gevent import monkey

monkey.patch_all()
