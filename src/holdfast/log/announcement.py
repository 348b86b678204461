"""What is said of entries that were just written, as bytes for the other processes; and how a log in Redis says it itself.

Where the log and the backplane are the same Redis, the script that appends also publishes: one step, so that no process can
die between the two. It builds in Lua what :class:`Numbered` is on the wire, so who receives it sees no difference.
"""

from collections.abc import Callable

import msgspec

from .base import Batch, Entry

Announce = Callable[[str], tuple[bytes, bytes, bytes]]
"""Of a topic: the command that publishes, its channel (in a cluster with the hash tag of the log's keys), and what stands
before a message there. That is followed by the message's length (4 bytes, big-endian) and the message.

It is asked at every append, as a forked child is another sender than its parent."""

UNANNOUNCED = (b"", b"", b"")
"""The script says nothing to anybody."""


class Numbered(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """Entries of the log that were just given neighbouring offsets, in order. ``before`` is as in a ``Batch``.

    ``origin`` is the process that tells of them, so that it does not listen to itself; empty if Redis does, where what
    stands before the message says whose it is.
    """

    origin: str
    epoch: str
    before: int
    entries: tuple[tuple[int, str, bytes, str, int], ...]

    @classmethod
    def of(cls, batch: Batch, origin: str) -> "Numbered":
        entries = tuple((e.offset, e.name, e.payload, e.exclude, e.stamp) for e in batch.entries)
        return cls(origin, batch.epoch, batch.before, entries)

    def batch(self, topic: str) -> Batch:
        entries = (Entry(offset=o, name=n, payload=p, exclude=x, stamp=s) for o, n, p, x, s in self.entries)
        return Batch(topic=topic, epoch=self.epoch, before=self.before, entries=tuple(entries))


# The numbers are MessagePack's: an array of five (0x95), and with four bytes of length a long array (0xDD) and bytes (0xC6).
# cmsgpack packs Lua's strings as text, which is right for all but the payloads.
ANNOUNCE = """
local function announce(how, first, epoch, head, before, present)
  local five, stamp = string.char(0x95), cmsgpack.pack(present % 4294967296)
  local parts = {
    five, cmsgpack.pack('n', '', epoch, before % 4294967296),
    struct.pack('>BI4', 0xDD, (#ARGV - first + 1) / 3)
  }
  for place = first, #ARGV, 3 do
    head = head + 1
    local payload, last = ARGV[place + 1], #parts
    parts[last + 1] = five
    parts[last + 2] = cmsgpack.pack(head, ARGV[place])
    parts[last + 3] = struct.pack('>BI4', 0xC6, #payload)
    parts[last + 4] = payload
    parts[last + 5] = cmsgpack.pack(ARGV[place + 2])
    parts[last + 6] = stamp
  end
  local message = table.concat(parts)
  local told = redis.pcall(how[1], how[2], how[3] .. struct.pack('>I4', #message) .. message)
  return type(told) == 'number' and 1 or 0
end
"""
"""A function for a script: with what :data:`Announce` gave, tell of the entries whose names, payloads and excluded clients
begin at ``ARGV[first]``; 1 if they were told of. An error (no right to publish) undoes nothing of what was written."""
