"""The tables and database functions of the log. Imports Django and :mod:`holdfast.log.postgresql_functions`."""
