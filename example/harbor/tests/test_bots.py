import asyncio
from threading import get_ident
from unittest import mock

from asgiref.sync import sync_to_async
from django.test import SimpleTestCase

from harbor import bots


class Bots(SimpleTestCase):
    async def test_a_bot_that_fails_is_started_again(self) -> None:
        runs = 0
        again = asyncio.Event()

        async def bot() -> None:
            nonlocal runs
            runs += 1
            if runs == 2:
                again.set()
            raise RuntimeError("the database is away")

        with (
            mock.patch.object(bots, "found", return_value=[bot]),
            mock.patch.object(bots, "PAUSE_AFTER_FAILURE", 0),
            self.assertLogs("harbor.bots", "ERROR") as logged,
        ):
            running = asyncio.create_task(bots.run("bots"))
            await asyncio.wait_for(again.wait(), 5)
            running.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await running
        self.assertIn("starts again", logged.output[0])

    async def test_before_that_the_connections_of_the_thread_in_which_bots_use_the_database_are_renewed(
        self,
    ) -> None:
        closed_in: list[int] = []
        again = asyncio.Event()

        def close() -> None:
            closed_in.append(get_ident())

        async def bot() -> None:
            if closed_in:
                again.set()
            raise RuntimeError("the database is away")

        with (
            mock.patch.object(bots, "found", return_value=[bot]),
            mock.patch.object(bots, "PAUSE_AFTER_FAILURE", 0),
            mock.patch.object(bots, "close_old_connections", close),
            self.assertLogs("harbor.bots", "ERROR"),
        ):
            running = asyncio.create_task(bots.run("bots"))
            await asyncio.wait_for(again.wait(), 5)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        self.assertEqual(set(closed_in), {await sync_to_async(get_ident)()})

    async def test_the_bots_run_while_the_server_does_and_no_longer(self) -> None:
        began, ended, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def bot() -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def application(scope: object, receive: object, send: object) -> None:
            await stop.wait()

        with mock.patch.object(bots, "found", return_value=[bot]):
            server = asyncio.create_task(bots.beside(application, "bots")({"type": "lifespan"}, None, None))
            await asyncio.wait_for(began.wait(), 5)
            stop.set()
            await server
            await asyncio.wait_for(ended.wait(), 5)
