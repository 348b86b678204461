"""The limit for open files: each connection is one."""

from collections.abc import Iterator

OPEN_FILES = 1 << 20
FEW_FILES = 8192


def raise_limit() -> Iterator[str]:
    """Let this process and its workers open as many files as the system allows; yield what to print about it."""
    try:
        import resource
    except ImportError:  # not a UNIX system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError) as error:
            wanted = soft
            yield f"The limit for open files stays at {soft}: {error}"
        else:
            yield f"Open files: the limit was {soft} and is now {wanted}; each connection is one."
    if soft != resource.RLIM_INFINITY and wanted < FEW_FILES:
        yield (
            f"That is few: raise the hard limit (LimitNOFILE= in systemd, ulimit -Hn in a shell) for more than {wanted} "
            "connections in each worker."
        )
