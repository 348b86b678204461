"""Joined topic: one connection's membership in one topic."""

from holdfast.auth.base import Identity
from holdfast.protocol.codes import Code
from holdfast.streams.stream import Subscription
from holdfast.topics.action import Action
from holdfast.topics.topic import Topic

NOT_TRUSTED = float("-inf")
"""Stands in place of the time of the last answer: the rule must be asked again before that answer is used."""


class JoinedTopic:
    """A connection's state for a topic that it has joined.

    ``checked`` is the time when ``may_join`` last admitted the user. ``revoked`` is set when the right to the topic is taken
    away; it is the code that answers calls which still wait. A client that leaves by itself keeps its calls. ``doubts``
    counts the revocations that may have changed the rule's answer. ``permitted`` has the actions for which the user had the
    permissions, each with the identity that was asked about and the time; ``None`` until such an action is called.
    """

    __slots__ = ("checked", "doubts", "permitted", "revoked", "subscription", "topic")

    def __init__(self, topic: Topic, subscription: Subscription, checked: float) -> None:
        self.topic = topic
        self.subscription = subscription
        self.checked = checked
        self.revoked: Code | None = None
        self.doubts = 0
        self.permitted: dict[Action, tuple[Identity, float]] | None = None

    def permits(self, action: Action, identity: Identity, since: float) -> bool:
        """Return whether this very identity had the permissions for an action after ``since``, or the action requires none."""
        if not action.requires:
            return True
        found = None if self.permitted is None else self.permitted.get(action)
        return found is not None and found[0] is identity and found[1] > since

    def permit(self, action: Action, identity: Identity, at: float) -> None:
        """Note that the identity had the permissions for an action."""
        if self.permitted is None:
            self.permitted = {}
        self.permitted[action] = (identity, at)

    def doubt(self) -> None:
        """Drop the last answers of the rules."""
        self.checked, self.permitted = NOT_TRUSTED, None
        self.doubts += 1
