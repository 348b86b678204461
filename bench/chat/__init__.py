"""One chat room, written twice: as a topic and as a plain Channels consumer. Served to what measures in bench/."""
