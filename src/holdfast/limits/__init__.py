"""Limits: the interface of rates in ``base``, one module for each technology that counts, and the networks without limits.

It may import ``protocol`` (the token bucket), ``redis``, and nothing of Django or of the other packages.
"""
