"""A topic that a connection has joined."""

from holdfast.hub.stream import Subscription
from holdfast.protocol.codes import Code
from holdfast.topics.topic import Topic

NOT_TRUSTED = float("-inf")
"""In place of the time of an answer: ask again before anything is done on the strength of it."""


class Place:
    """What a connection keeps of a topic that it has joined.

    ``checked`` is when ``may_join`` last said yes. ``revoked`` is the code that answers calls which still wait, once the right
    to the topic has been taken away; a client that leaves by itself keeps its calls. ``doubts``: how often something was
    ordered that may change the answer.
    """

    __slots__ = ("checked", "doubts", "revoked", "subscription", "topic")

    def __init__(self, topic: Topic, subscription: Subscription, checked: float) -> None:
        self.topic = topic
        self.subscription = subscription
        self.checked = checked
        self.revoked: Code | None = None
        self.doubts = 0

    def doubt(self) -> None:
        """The last answer counts no more."""
        self.checked = NOT_TRUSTED
        self.doubts += 1
