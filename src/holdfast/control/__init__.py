"""The control plane: commands that revoke access in every process, such as evictions and disconnections.

:mod:`.commands` are the values, :mod:`.control` issues them through the log and hands them on, :mod:`.retry_queue` keeps those
that the log does not take. Imports hub and what is below it; the code that carries commands out is in ``connections``.
"""
