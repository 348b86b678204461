"""The names of the tables that the database log keeps; ``holdfast.models`` declares their columns."""

TOPIC = "holdfast_topic"
"""One row for each durable topic: its epoch and the last offset given out."""

ENTRY = "holdfast_entry"
"""The log itself: entries with their offsets."""

OUTBOX = "holdfast_outbox"
"""Entries that are committed or about to be, and have no offset yet."""

CALL = "holdfast_call"
"""Keys of calls that are carried out once, with their answers."""
