"""Counts of connections and uses in Redis, across all processes that use it.

Each process has a hash with its connections by key, which vanishes with the process's lease. The number of connections of
a key is the sum over the hashes of the living processes. All steps of one round trip run in one script, and handshakes
that come together share a round trip.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, RedisError

from holdfast.redis.client import AsyncClient, RedisStore, hash_tag
from holdfast.redis.script import Script

from .base import Rate
from .shared import Entered, SharedCounts

logger = logging.getLogger("holdfast.limits")

LEASE_SECONDS = 15.0
ANSWER_SECONDS = 1.0
"""Seconds that a handshake waits for Redis at most."""

AWAY_SECONDS = 2.0
"""Seconds for which Redis is not asked after it did not answer."""

AT_ONCE = 200
"""Steps of one round trip."""

NO_ANSWER = Entered()
"""The answer to a step that Redis did not answer: admitted, and not counted."""

_LEASE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
local known = redis.call('EXISTS', KEYS[2])
"""

COUNT = Script(
    _LEASE
    + """
-- KEYS: processes, the hash of this process. ARGV: its name, its lease in milliseconds, what the names of hashes and of
-- rates begin with, then for each step: the key, the connections more (1, -1, or 0: a use only), the limit or '', the
-- milliseconds of one use or '', the uses at once
local others = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if name ~= ARGV[1] then others[#others + 1] = ARGV[3] .. name end
end
local answers = {}
for i = 5, #ARGV, 5 do
  local key, limit, each = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local over, wait = 0, 0
  if ARGV[i + 1] ~= '-1' then
    if limit ~= '' then
      local count = tonumber(redis.call('HGET', KEYS[2], key) or 0)
      for _, hash in ipairs(others) do count = count + tonumber(redis.call('HGET', hash, key) or 0) end
      if count >= tonumber(limit) then over = 1 end
    end
    if over == 0 and each ~= '' then
      local name = ARGV[4] .. key
      local full = math.max(tonumber(redis.call('GET', name) or 0), now) + each
      wait = full - now - each * ARGV[i + 4]
      if wait > 0.001 then
        wait = math.ceil(wait)
      else
        wait = 0
        redis.call('SET', name, string.format('%.3f', full), 'PX', math.ceil(full - now))
      end
    end
    if over == 0 and wait == 0 and ARGV[i + 1] == '1' then redis.call('HINCRBY', KEYS[2], key, 1) end
  elseif redis.call('HINCRBY', KEYS[2], key, -1) <= 0 then
    redis.call('HDEL', KEYS[2], key)
  end
  answers[#answers + 1] = over
  answers[#answers + 1] = wait
end
redis.call('HSETNX', KEYS[2], '', '1')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {known, answers}
"""
)
"""Returns whether Redis still had the hash, and for each step whether the key is over its limit and how many milliseconds the
use is too early."""

REFRESH = Script(
    _LEASE
    + """
-- KEYS: processes, the hash of this process. ARGV: its name, its lease in milliseconds
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return known
"""
)


class CountStep(NamedTuple):
    key: str
    change: int
    limit: int | None
    rate: Rate | None
    answer: "asyncio.Future[Entered] | None"

    @property
    def arguments(self) -> tuple[Any, ...]:
        rate = self.rate
        each, at_once = ("", "") if rate is None else (1000 * rate.seconds / rate.count, rate.count)
        return self.key, self.change, "" if self.limit is None else self.limit, each, at_once


class RedisCounts(SharedCounts):
    """Counts in Redis. Its keys begin with ``<prefix>:limits:`` and share one hash tag.

    ``counts`` returns the connections that this process has now: they are written again after Redis has lost them.
    """

    def __init__(self, store: RedisStore, counts: Callable[[], Mapping[str, int]]) -> None:
        begin = f"{store.prefix}:limits:{hash_tag('limits')}"
        self._store = store
        self._counts = counts
        self._processes = f"{begin}:processes"
        self._hashes = f"{begin}:process:"
        self._rates = f"{begin}:rate:"
        self._forget()

    def _forget(self) -> None:
        """Begin on another event loop."""
        self._name = secrets.token_hex(8)
        self._client: AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._steps: list[CountStep] = []
        self._task: asyncio.Task[None] | None = None
        self._beats: asyncio.Task[None] | None = None
        self._begun = False  # Redis has had this process's hash
        self._away_until: float | None = None

    # ── the interface ────────────────────────────────────────────────────────────────────────────────────────────────

    async def enter(self, key: str, *, limit: int | None = None, rate: Rate | None = None) -> Entered:
        loop = self._running_loop()
        if self._away_until is not None and loop.time() < self._away_until:
            return NO_ANSWER
        answer: asyncio.Future[Entered] = loop.create_future()
        self._add(CountStep(key, 1, limit, rate, answer))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(partial(self._given_up, key))
            raise

    async def use(self, key: str, rate: Rate) -> float | None:
        loop = self._running_loop()
        if self._away_until is not None:  # the beats, or handshakes, find out when Redis answers again
            return None
        answer: asyncio.Future[Entered] = loop.create_future()
        self._add(CountStep(f"use:{key}", 0, None, rate, answer))
        entered = await asyncio.shield(answer)
        return None if entered is NO_ANSWER else entered.wait

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._forget()
            self._loop = loop
        return loop

    def _given_up(self, key: str, answer: "asyncio.Future[Entered]") -> None:
        if not answer.cancelled() and not answer.result().refused:
            self.leave(key)

    def leave(self, key: str) -> None:
        if self._loop is not None and not self._loop.is_closed() and self._away_until is None:
            self._add(CountStep(key, -1, None, None, None))

    async def stop(self) -> None:
        for task in (self._beats, self._task):
            if task is not None and task.get_loop() is asyncio.get_running_loop():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        for step in self._steps:
            if step.answer is not None and not step.answer.done():
                step.answer.set_result(NO_ANSWER)
        client = self._client
        if client is not None:
            with contextlib.suppress(RedisError, OSError):
                await client.delete(self._hashes + self._name)
                await client.zrem(self._processes, self._name)
                await client.aclose()
        self._forget()

    # ── round trips ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, step: CountStep) -> None:
        self._steps.append(step)
        if self._task is None:
            assert self._loop is not None
            self._task = self._loop.create_task(self._run())
        if self._beats is None:
            assert self._loop is not None
            self._beats = self._loop.create_task(self._beat())

    async def _run(self) -> None:
        try:
            while self._steps:
                batch, self._steps = self._steps[:AT_ONCE], self._steps[AT_ONCE:]
                # However it ends: a handshake must not wait for an answer that never comes.
                answers = [NO_ANSWER] * len(batch)
                try:
                    answers = await self._count(batch)
                finally:
                    for step, answer in zip(batch, answers, strict=True):
                        if step.answer is not None and not step.answer.done():
                            step.answer.set_result(answer)
        finally:
            self._task = None

    async def _count(self, batch: list[CountStep]) -> list[Entered]:
        try:
            arguments = [argument for step in batch for argument in step.arguments]
            known, found = await self._call(COUNT, self._hashes, self._rates, *arguments)
            if (self._begun and not known) or self._away_until is not None:
                await self._write_again()
        except Exception as error:  # noqa: BLE001 -- redis-py raises more than its own errors when a server dies in an answer
            self._is_away(error)
            return [NO_ANSWER] * len(batch)
        self._is_back()
        return [
            Entered(over=bool(over), wait=wait / 1000)
            for over, wait in zip(found[::2], found[1::2], strict=True)
        ]

    async def _beat(self) -> None:
        """Renew the lease for as long as this process counts."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                known = await self._call(REFRESH)
                if not known or self._away_until is not None:
                    await self._write_again()
            except Exception as error:  # noqa: BLE001 -- as above; without its beats the process would lose its lease
                self._is_away(error)
            else:
                self._is_back()

    async def _write_again(self) -> None:
        """Replace this process's hash by the connections that it has."""
        key, fields = self._hashes + self._name, {"": "1"} | {k: str(v) for k, v in self._counts().items()}
        client: Any = self._aclient()
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.delete(key)
            pipeline.hset(key, mapping=fields)
            pipeline.pexpire(key, int(1000 * LEASE_SECONDS))
            await pipeline.execute()

    async def _call(self, script: Script, *arguments: Any) -> Any:
        keys = (self._processes, self._hashes + self._name)
        every = (*keys, self._name, int(1000 * LEASE_SECONDS), *arguments)
        client: Any = self._aclient()
        try:
            answer = await client.evalsha(script.hash, len(keys), *every)
        except NoScriptError:
            answer = await client.eval(script.text, len(keys), *every)
        return answer

    def _aclient(self) -> AsyncClient:
        if self._client is None:
            self._client = self._store.aclient(timeout=ANSWER_SECONDS)
        return self._client

    # ── outages ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_away(self, error: Exception) -> None:
        if self._away_until is None:
            logger.warning(
                "Redis did not answer, so limits of users and addresses hold in each process only until it does: %r",
                error,
            )
        self._away_until = asyncio.get_running_loop().time() + AWAY_SECONDS

    def _is_back(self) -> None:
        self._begun = True
        if self._away_until is not None:
            self._away_until = None
            logger.warning("Redis answers again: limits of users and addresses hold across processes")
