"""Rate limits: the interface in ``base``, and one module for each technology that counts.

It may import ``protocol`` (the token bucket), and nothing of Django or of the other packages.
"""
