"""Lua scripts of the log in Redis and of its call records. Each runs as one step, and touches one topic or one call.

Of a topic ``T`` there are:

===============  ======  ===============================================================================================
``{T}``          hash    ``epoch``, ``head`` and ``floor`` (offsets), ``head_at`` and ``floor_at`` (when those two
                         were written: microseconds of the server's clock, 0 if that is not known)
``{T}:entries``  stream  the entries from ``floor + 1`` to ``head``; the id of one is ``<offset>-0``, its fields are its
                         name, payload, excluded client and time
===============  ======  ===============================================================================================

The two are one: a hash without its stream, or with another number of entries than ``head - floor``, was lost in part, and
the topic begins a new epoch.

Of calls there are, in each of :data:`~.redis_calls.BUCKETS` buckets ``B``: ``{B}``, a sorted set of the calls by when they were
claimed (milliseconds), and ``{B}:<owner>:<key>``, a hash of one: ``target``, ``made``, ``ends``, and once it is answered
``answer`` and ``failed``. It expires by itself.
"""

from holdfast.redis.script import Script

from .announcement import ANNOUNCE

_LOOK = """
local function look(fresh)
  local found = redis.call('HMGET', KEYS[1], 'epoch', 'head', 'floor', 'head_at', 'floor_at')
  local head, floor = tonumber(found[2]), tonumber(found[3])
  if found[1] and redis.call('XLEN', KEYS[2]) == head - floor then
    return {found[1], head, floor, found[4], found[5], 0}
  end
  head = head or 0
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', fresh, 'head', head, 'floor', head, 'head_at', '0', 'floor_at', '0')
  return {fresh, head, head, '0', '0', 1}
end

local function time_at(state, offset)
  if offset == state[2] then return state[4] end
  if offset == state[3] then return state[5] end
  if offset < state[3] or offset > state[2] then return '0' end
  return redis.call('XRANGE', KEYS[2], offset .. '-0', offset .. '-0')[1][2][8]
end

local function diverged(state, offset, stamp)
  if offset > state[2] then return true end
  local there = tonumber(time_at(state, offset)) % 4294967296
  return stamp ~= 0 and there ~= 0 and there ~= stamp
end
"""

HEAD = Script(
    _LOOK
    + """
return look(ARGV[1])
"""
)
"""``fresh`` (an epoch, should one be needed): epoch, head, floor, head_at, floor_at, and 1 if the epoch is fresh."""

APPEND = Script(
    _LOOK
    + ANNOUNCE
    + """
local state = look(ARGV[1])
local now = redis.call('TIME')
local moment = now[1] * 1000000 + now[2]
local present = string.format('%d', moment)
local head, first = state[2], 5
for place = first, #ARGV, 3 do
  head = head + 1
  redis.call('XADD', KEYS[2], head .. '-0',
    'n', ARGV[place], 'p', ARGV[place + 1], 'x', ARGV[place + 2], 't', present)
end
redis.call('HSET', KEYS[1], 'head', head, 'head_at', present)
local told = 0
if ARGV[2] ~= '' then
  told = announce({ARGV[2], ARGV[3], ARGV[4]}, first, state[1], state[2], tonumber(state[4]), moment)
end
return {state[1], state[2], state[4], present, state[6], told}
"""
)
"""``fresh``, how to tell the other processes (see :mod:`.announcement`; empty: not at all), then name, payload and excluded
client of each: epoch, head and head_at before, the time, 1 if the epoch is fresh, 1 if the others were told."""

READ = Script(
    _LOOK
    + """
local state = look(ARGV[1])
local after, stamp, limit = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if ARGV[2] ~= state[1] then return {'trimmed', state} end
if diverged(state, after, stamp) then return {'diverged', state} end
if limit <= 0 then return {'entries', {}} end
if after < state[3] then return {'trimmed', state} end
local size = tonumber(ARGV[6])
if not size then return {'entries', redis.call('XRANGE', KEYS[2], (after + 1) .. '-0', '+', 'COUNT', limit)} end
-- A few at a time, since Redis copies all that one command finds; then about as many as fit, by the size of those so far.
local found, step, weight = {}, 4, 0
while #found < limit and weight < size do
  local some = redis.call('XRANGE', KEYS[2], (after + #found + 1) .. '-0', '+', 'COUNT', math.min(step, limit - #found))
  if #some == 0 then break end
  for _, entry in ipairs(some) do
    found[#found + 1] = entry
    weight = weight + #entry[2][4]
    if weight >= size then break end
  end
  step = math.max(1, math.min(8 * step, math.floor((size - weight) * #found / math.max(weight, 1))))
end
return {'entries', found}
"""
)
"""``fresh``, then epoch, offset and stamp of a position, how many and how many bytes of payload (empty: any): the entries, or why
not, with the state."""

ROTATE_EPOCH = Script(
    _LOOK
    + """
local state = look(ARGV[1])
if ARGV[2] == '' or (ARGV[2] == state[1] and diverged(state, tonumber(ARGV[3]), tonumber(ARGV[4]))) then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
  state[1] = ARGV[1]
end
return state
"""
)
"""``fresh``, then epoch (empty: whatever it is), offset and stamp of a position: the state after that."""

TRIM = Script(
    _LOOK
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local state = look(ARGV[1])
local floor, upto = state[3], state[3]
if ARGV[2] ~= '' then upto = math.max(upto, state[2] - tonumber(ARGV[2])) end
upto = math.min(upto, floor + tonumber(ARGV[4]))
if ARGV[3] ~= '' and upto < floor + tonumber(ARGV[4]) then
  local before, left = tonumber(ARGV[3]), floor + tonumber(ARGV[4]) - upto
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], (upto + 1) .. '-0', '+', 'COUNT', left)) do
    if tonumber(entry[2][8]) >= before then break end
    upto = upto + 1
  end
end
if upto == floor then return 0 end
redis.call('HSET', KEYS[1], 'floor', upto, 'floor_at', time_at(state, upto))
redis.call('XTRIM', KEYS[2], 'MINID', '=', (upto + 1) .. '-0')
return upto - floor
"""
)
"""``fresh``, how many to keep, the time before which to trim (each may be empty), and how many to trim at most."""

_EARLIER = """
local now = redis.call('TIME')
local present = now[1] * 1000 + math.floor(now[2] / 1000)
local function earlier(call, target)
  local found = redis.call('HMGET', call, 'target', 'ends', 'answer', 'failed')
  if not found[1] then return nil end
  if found[1] ~= target then return {'reused'} end
  if found[3] then return {'answer', found[3], found[4]} end
  return {tonumber(found[2]) <= present and 'lost' or 'running'}
end
"""
"""The outcome of an earlier attempt at a call, or nil."""

FIND = Script(_EARLIER + "return earlier(KEYS[1], ARGV[1]) or {'none'}")
"""Argument: target."""

CLAIM = Script(
    _EARLIER
    + """
local found = earlier(KEYS[2], ARGV[2])
if found then return found end
redis.call('HSET', KEYS[2], 'target', ARGV[2], 'made', present, 'ends', present + tonumber(ARGV[3]))
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[4]) + tonumber(ARGV[3]))
for place = 1, 3, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[place], '-inf', present - tonumber(ARGV[4]) - 86400000)
  redis.call('ZADD', KEYS[place], present, ARGV[1])
end
redis.call('PEXPIRE', KEYS[3], tonumber(ARGV[4]) + tonumber(ARGV[3]) + 3600000)
return {'mine'}
"""
)
"""Arguments: member of the sorted set; target; milliseconds for which the claim holds; milliseconds for which the answer is kept."""

ANSWER = Script(
    """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'answer', ARGV[1], 'failed', ARGV[2])
return 1
"""
)

RELEASE = Script(
    """
if redis.call('HEXISTS', KEYS[2], 'answer') == 1 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('DEL', KEYS[2])
"""
)

FORGET = Script(
    """
local now = redis.call('TIME')
local present = now[1] * 1000 + math.floor(now[2] / 1000)
local found = redis.call('HMGET', KEYS[2], 'made', 'ends', 'answer')
if not found[1] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 0
end
if not found[3] and tonumber(found[2]) > present then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('DEL', KEYS[2])
"""
)
"""Member of the sorted set: 1 if the call was forgotten; it is not while it runs."""

TRIM_CALLS = Script(
    """
local now = redis.call('TIME')
local present = now[1] * 1000 + math.floor(now[2] / 1000)
local count, size, before = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local gone, number = 0, 0
local members = redis.call('ZREVRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for place = 1, #members, 2 do
  local call = ARGV[1] .. members[place]
  local ends = redis.call('HGET', call, 'ends')
  if not ends then
    redis.call('ZREM', KEYS[1], members[place])
    redis.call('ZREM', KEYS[2], members[place])
  else
    local answered = redis.call('HEXISTS', call, 'answer') == 1
    number, size = number + 1, size - redis.call('HSTRLEN', call, 'answer') - tonumber(ARGV[5])
    if (number > count or size < 0) and tonumber(members[place + 1]) < before
        and (answered or tonumber(ends) <= present) then
      redis.call('DEL', call)
      redis.call('ZREM', KEYS[1], members[place])
      redis.call('ZREM', KEYS[2], members[place])
      gone = gone + 1
    end
  end
end
return gone
"""
)
"""Beginning of the calls' keys; how many to keep; how many bytes; the time from which on all are kept; bytes of a record besides
its answer. Returns how many were removed."""
