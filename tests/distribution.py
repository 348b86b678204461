"""Distribution of the tests among pytest's workers."""

import re

from xdist.scheduler import LoadFileScheduling

from tests.asgi_servers.servers import SERVERS

_NAMES = "|".join(re.escape(name) for name in sorted((kind.name for kind in SERVERS), key=len, reverse=True))
_ON_A_SERVER = re.compile(rf"^(tests/asgi_servers)/[^\[]*\[(?:.*-)?({_NAMES})(?:-.*)?\]$")


class ByFileOrServer(LoadFileScheduling):
    """As ``--dist loadfile``, but the tests of one ASGI server go to one worker, so that they can share its process."""

    def _split_scope(self, nodeid: str) -> str:
        if found := _ON_A_SERVER.match(nodeid):
            return f"{found[1]} on {found[2]}"
        scope: str = super()._split_scope(nodeid)
        return scope
