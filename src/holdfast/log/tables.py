"""The tables that the database log keeps: their names, and how much of them is touched at once.

``holdfast.models`` declares their columns.
"""

TOPIC = "holdfast_topic"
"""One row for each durable topic that had an event: its epoch and the last offset given out."""

SEED = "holdfast_seed"
"""One row: the text from which topics' first epochs are computed (:mod:`.epochs`)."""

ENTRY = "holdfast_entry"
"""The log itself: entries with their offsets."""

OUTBOX = "holdfast_outbox"
"""Entries that are committed or about to be, and have no offset yet."""

CALL = "holdfast_call"
"""Keys of calls that are carried out once, with their answers."""

CHUNK = 1000
"""Entries that are moved, or trimmed, in one transaction at most: its lock is held no longer than that takes."""

ROWS = 150
"""Rows in one INSERT: SQLite takes 999 parameters in a statement, at least."""
