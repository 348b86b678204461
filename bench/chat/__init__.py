"""One chat room, written twice: as a topic and as a plain Channels consumer. The benches in bench/ measure it."""
