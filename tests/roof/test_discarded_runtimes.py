"""A runtime that changed settings discard."""

import asyncio
import threading

from django.test import override_settings

from holdfast import runtime


def test_its_threads_end() -> None:
    with override_settings(HOLDFAST={"HANDLER_THREADS": 2}):
        thread = asyncio.run(runtime.current().session_threads.run(threading.current_thread))
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
