"""Scripts that Redis runs atomically. Each touches one topic, or the leases, so that all of its keys share a hash tag.

The keys of a topic ``T``:

==================  ======  ============================================================================================
``{T}``             string  the mark: ``<number of changes>-<nonce>``
``{T}:members``     hash    member to the info that clients get
``{T}:held``        hash    member to the number of leases that hold it
``{T}:by:<lease>``  set     the members that the lease holds
``{T}:ended:<lease>``  string  further writes under the lease are refused
==================  ======  ============================================================================================

The keys of the leases: ``{leases}``, a sorted set of living leases by the time of their end (milliseconds of the server's
clock); ``{leases}:ended``, a sorted set of ended leases by the time until which a server is clearing them; and
``{leases}:<lease>``, the topics in which a lease may hold members. A topic is put there before anything is written to it.
"""

from holdfast.redis.script import Script

_CHANGE = """
local function hold(id, info, joined)
  if redis.call('SADD', KEYS[4], id) == 1 and redis.call('HINCRBY', KEYS[3], id, 1) == 1 then
    redis.call('HSET', KEYS[2], id, info)
    joined[#joined + 1] = id
  end
end

local function drop(id, left)
  if redis.call('HINCRBY', KEYS[3], id, -1) <= 0 then
    redis.call('HDEL', KEYS[3], id)
    redis.call('HDEL', KEYS[2], id)
    left[#left + 1] = id
  end
end

local function answer(nonce, kept, joined, left, more)
  local before = redis.call('GET', KEYS[1]) or ''
  local mark = before
  local count = redis.call('HLEN', KEYS[2])
  if #joined + #left > 0 then
    mark = string.format('%d-%s', tonumber(string.match(before, '^%d+') or 0) + 1, nonce)
    if count == 0 then
      redis.call('SET', KEYS[1], mark, 'EX', kept)
    else
      redis.call('SET', KEYS[1], mark)
    end
  end
  return {before, mark, count, joined, left, more}
end
"""

CHANGE = Script(
    _CHANGE
    + """
-- KEYS: mark, members, held, by:<lease>, ended:<lease>
-- ARGV: nonce, seconds to keep an empty topic's mark, '1' if the lease holds members of this topic already, how many enter,
-- then each one's id and info, then who leaves
if redis.call('EXISTS', KEYS[5]) == 1 then return {} end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[4]) == 0 then return {} end
local joined, left = {}, {}
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do hold(ARGV[i], ARGV[i + 1], joined) end
for i = last + 1, #ARGV do
  if redis.call('SREM', KEYS[4], ARGV[i]) == 1 then drop(ARGV[i], left) end
end
return answer(ARGV[1], ARGV[2], joined, left, redis.call('SCARD', KEYS[4]))
"""
)
"""Returns nothing if the lease has ended, or if Redis has lost what it held; otherwise the mark before, the mark, the count, the
members that joined, those that left, and the number of members that the lease holds now."""

CLEAR = Script(
    _CHANGE
    + """
-- KEYS as above. ARGV: nonce, seconds to keep an empty topic's mark and the refusal, how many members at once
redis.call('SET', KEYS[5], 1, 'EX', ARGV[2])
local left = {}
for _, id in ipairs(redis.call('SPOP', KEYS[4], ARGV[3])) do drop(id, left) end
return answer(ARGV[1], ARGV[2], {}, left, redis.call('SCARD', KEYS[4]))
"""
)
"""As above. The last value is the number of members that the lease still holds."""

READ = Script(
    """
-- KEYS: mark, members. ARGV: the longest list that is wanted
local count = redis.call('HLEN', KEYS[2])
local members = 0
if count <= tonumber(ARGV[1]) then members = redis.call('HGETALL', KEYS[2]) end
return {redis.call('GET', KEYS[1]) or '', count, members}
"""
)

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

OPEN = Script(
    _NOW
    + """
-- KEYS: leases. ARGV: lease, milliseconds
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
"""
)

REFRESH = Script(
    _NOW
    + """
-- KEYS: leases, ended. ARGV: lease ('' for none), milliseconds
local alive = 0
if ARGV[1] ~= '' and redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
  alive = 1
end
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], lease)
  redis.call('ZADD', KEYS[2], now, lease)
end
local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
for _, lease in ipairs(ended) do redis.call('ZADD', KEYS[2], now + ARGV[2], lease) end
return {alive, ended}
"""
)
"""Returns whether the lease lives, and the ended leases of other servers that the caller has to clear."""

LOOK = Script(
    _NOW
    + """
-- KEYS: leases, ended
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], lease)
  redis.call('ZADD', KEYS[2], now, lease)
end
return redis.call('ZRANGE', KEYS[2], 0, -1)
"""
)
"""Returns the ended leases that are not cleared yet, whichever server has to clear them."""

ENROL = Script(
    """
-- KEYS: leases, {leases}:<lease>. ARGV: lease, topics
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
for i = 2, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
return 1
"""
)

END = Script(
    _NOW
    + """
-- KEYS: leases, ended. ARGV: lease, milliseconds that the caller has to clear it
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
"""
)

LEAVE = Script(
    """
-- KEYS: {leases}:<lease>, ended. ARGV: lease, topics that are clear
for i = 2, #ARGV do redis.call('SREM', KEYS[1], ARGV[i]) end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[2], ARGV[1]) end
"""
)
