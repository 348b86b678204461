"""Life of a process: fork, shutdown, greenlets, and calls from any thread onto an event loop. Imports nothing of Holdfast."""
