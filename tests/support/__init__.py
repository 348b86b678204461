"""Parts that several suites are built with."""
