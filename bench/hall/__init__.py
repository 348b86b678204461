"""The room that everything in bench/ is measured in: as a topic, as plain Channels consumers, and what looks inside."""
