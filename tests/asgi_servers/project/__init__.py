"""The Django project that every server serves: settings, pages, consumers, topics."""
