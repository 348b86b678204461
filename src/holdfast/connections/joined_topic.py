"""Joined topic: one connection's membership in one topic."""

from holdfast.protocol.codes import Code
from holdfast.streams.stream import Subscription
from holdfast.topics.topic import Topic

NOT_TRUSTED = float("-inf")
"""Stands in place of the time of the last answer: the rule must be asked again before that answer is used."""


class JoinedTopic:
    """A connection's state for a topic that it has joined.

    ``checked`` is the time when ``may_join`` last admitted the user. ``revoked`` is set when the right to the topic is taken
    away; it is the code that answers calls which still wait. A client that leaves by itself keeps its calls. ``doubts``
    counts the revocations that may have changed the rule's answer.
    """

    __slots__ = ("checked", "doubts", "revoked", "subscription", "topic")

    def __init__(self, topic: Topic, subscription: Subscription, checked: float) -> None:
        self.topic = topic
        self.subscription = subscription
        self.checked = checked
        self.revoked: Code | None = None
        self.doubts = 0

    def doubt(self) -> None:
        """Drop the last answer of the rule."""
        self.checked = NOT_TRUSTED
        self.doubts += 1
