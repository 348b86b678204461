"""A fleet of real processes, broken by a schedule that follows from a seed, and a checker of what every client saw."""
