"""The room in which the benches measure: as a topic, as plain Channels consumers, and a page that shows the counters."""
