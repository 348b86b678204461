"""Live connections: the driver of the protocol machine, the topic's own rules, joins, calls, revocation and re-checks.

:mod:`.connection` is one live connection; :mod:`.joining` carries out its joins, :mod:`.performing` its calls. This package may import
``auth``, ``topics``, ``hub``, ``log``, ``limits`` and ``protocol``. It opens no socket: a transport gives it messages and takes its
answers (:mod:`.transport`). :mod:`.registry` is what revocation and re-checks know of a connection.
"""
