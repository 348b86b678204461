"""The message that tells other processes of new entries, and the Lua code with which a log in Redis publishes it itself.

Where the log and the backplane are the same Redis, the script that appends also publishes: one step, so that no process can
die between the two. It builds in Lua what :class:`Entries` is on the wire, so who receives it sees no difference.
"""

from collections.abc import Callable

import msgspec

from .base import Batch, Entry

Announce = Callable[[str], tuple[bytes, bytes, bytes]]
"""Return, for a topic: the command that publishes, its channel (in a cluster with the hash tag of the log's keys), and the prefix
of a message there. The message's length (4 bytes, big-endian) and the message follow the prefix.

The log calls it at every append, as a forked child is another sender than its parent."""

UNANNOUNCED = (b"", b"", b"")
"""The script publishes nothing."""


class Entries(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """Entries of the log that were just given neighbouring offsets, in order. ``before`` is as in a ``Batch``."""

    epoch: str
    before: int
    entries: tuple[tuple[int, str, bytes, str, int], ...]

    @classmethod
    def of(cls, batch: Batch) -> "Entries":
        entries = tuple((e.offset, e.name, e.payload, e.exclude, e.stamp) for e in batch.entries)
        return cls(batch.epoch, batch.before, entries)

    def batch(self, topic: str) -> Batch:
        entries = (Entry(offset=o, name=n, payload=p, exclude=x, stamp=s) for o, n, p, x, s in self.entries)
        return Batch(topic=topic, epoch=self.epoch, before=self.before, entries=tuple(entries))


# The numbers are MessagePack's: arrays of four (0x94) and five (0x95), and with four bytes of length a long array (0xDD) and bytes (0xC6).
# cmsgpack packs Lua's strings as text, which is right for all but the payloads. All is put together once, at the end, since with a
# large event each copy costs as much as writing it; for a single entry without table.concat, which makes two more of them.
ANNOUNCE = """
local function announce(how, first, epoch, head, before, present)
  local five, stamp = string.char(0x95), cmsgpack.pack(present % 4294967296)
  local count = (#ARGV - first + 1) / 3
  local start = string.char(0x94) .. cmsgpack.pack('n', epoch, before % 4294967296) .. struct.pack('>BI4', 0xDD, count)
  local parts, length = {how[3], '', start}, #start
  for place = first, #ARGV, 3 do
    head = head + 1
    local name, payload, exclude = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    local opening = five .. cmsgpack.pack(head, name) .. struct.pack('>BI4', 0xC6, #payload)
    local closing = cmsgpack.pack(exclude) .. stamp
    local last = #parts
    parts[last + 1], parts[last + 2], parts[last + 3] = opening, payload, closing
    length = length + #opening + #payload + #closing
  end
  parts[2] = struct.pack('>I4', length)
  local message = count == 1
    and parts[1] .. parts[2] .. parts[3] .. parts[4] .. parts[5] .. parts[6] or table.concat(parts)
  local told = redis.pcall(how[1], how[2], message)
  return type(told) == 'number' and 1 or 0
end
"""
"""Lua function that publishes the entries whose names, payloads and excluded clients begin at ``ARGV[first]``, by the values of
:data:`Announce`; 1 if they were published. An error (no right to publish) does not undo the write."""
