"""Real servers for tests and benches: PostgreSQL and Redis, from the machine's own packages.

`processes` finds programs and starts them; `postgres` and `redis` are one server each, and do not import pytest, because
benches use them too; `databases` chooses the database of each test; `fixtures` is the pytest plugin.
"""
