"""Real servers for tests and benches: PostgreSQL and Redis, from the machine's own packages.

`processes` finds programs and starts them; `postgres` and `redis` are one server each, and know nothing of
pytest, so that benches use them too; `databases` says which tests run on which database; `fixtures` is the pytest plugin.
"""
