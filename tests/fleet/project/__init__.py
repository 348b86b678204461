"""The Django project that the fleet serves and writes to."""
