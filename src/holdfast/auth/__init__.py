"""Identity of clients: who a client is, from where it may connect, and whether it still is who it was.

:mod:`.base` has the interface, :class:`~.base.Authenticator`, and its values: :class:`~.base.AuthRequest`, what a client
presents, and :class:`~.base.Identity`, which every connection carries. :mod:`.session` and :mod:`.token` implement the
interface; :mod:`.session_store` and :mod:`.revalidation` read sessions and users for them. :mod:`.origins` decides which pages
may connect. The package knows headers, cookies, tokens and addresses, and no transport and no connection. It may import
topics, the hub, and what is below them.
"""
