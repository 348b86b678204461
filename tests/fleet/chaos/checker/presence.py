"""Check of presence: the lists of members agree with themselves, with each other, and with the clients that were connected.

A client's list is what ``joined`` gave it, changed by every ``presence`` message after that. A message with the leave of a
member that is not on the list contradicts it, and so does a diff to a list that was never given. In the end, when all
faults are over and all clients are connected, each list is exactly the users of the topic's clients.
"""

from collections import defaultdict
from collections.abc import Iterator

from ..records import Closed, Finished, History, Joined, Left, Opened, Presence
from .case import Case, Kind, Violation


def presence(case: Case) -> Iterator[Violation]:
    if not case.presence_topics:
        return
    views = {client: View(client, case.presence_topics) for client in case.histories}
    for client, history in case.histories.items():
        yield from views[client].follow(history)
    here: defaultdict[str, set[str]] = defaultdict(set)
    for view in views.values():
        for topic in view.lists:
            here[topic].add(view.user)
    for client, view in views.items():
        for topic, known in view.lists.items():
            members = known or set()
            for kind, users in (
                ("does not list", here[topic] - members),
                ("still lists", members - here[topic]),
            ):
                if users:
                    what = f"in the end {kind} {', '.join(sorted(users))}"
                    yield Violation(kind=Kind.PRESENCE, what=what, client=client, topic=topic, at=view.ended)


class View:
    """The members that one client sees, on the connection that is open. A topic whose list the server does not know yet has none."""

    def __init__(self, client: str, topics: frozenset[str]) -> None:
        self._client = client
        self._topics = topics
        self.user = ""
        self.ended: float | None = None
        self.lists: dict[str, set[str] | None] = {}

    def follow(self, history: list[History]) -> Iterator[Violation]:
        for record in history:
            match record:
                case Opened():
                    self.user = record.user
                    self.lists.clear()
                case Closed():
                    self.lists.clear()
                case Left():
                    self.lists.pop(record.topic, None)
                case Joined() if record.topic in self._topics:
                    yield from self._replace(record, record.members)
                case Presence():
                    yield from self._change(record)
                case Finished():
                    self.ended = record.at
                    return
                case _:
                    pass

    def _replace(self, record: Joined | Presence, members: list[str] | None) -> Iterator[Violation]:
        if members and len(set(members)) < len(members):
            yield self._contradiction(record, f"the list names a member twice: {sorted(members)}")
        self.lists[record.topic] = None if members is None else set(members)

    def _change(self, record: Presence) -> Iterator[Violation]:
        if record.topic not in self.lists:
            yield self._contradiction(record, "a list of a topic that is not joined")
            return
        if record.members is not None:
            yield from self._replace(record, record.members)
            return
        members = self.lists[record.topic]
        if members is None:
            yield self._contradiction(record, "a change of a list that was never given")
            return
        if unknown := set(record.left) - members:
            yield self._contradiction(record, f"who is not on the list left: {sorted(unknown)}")
        if both := set(record.left) & set(record.joined):
            yield self._contradiction(record, f"joined and left at once: {sorted(both)}")
        self.lists[record.topic] = (members - set(record.left)) | set(record.joined)

    def _contradiction(self, record: Joined | Presence, what: str) -> Violation:
        what = f"{what}, on connection {record.link}"
        return Violation(kind=Kind.PRESENCE, what=what, at=record.at, client=self._client, topic=record.topic)
