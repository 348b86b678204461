from typing import Any

from holdfast import Event, Keep, Topic, action


class MessagePosted(Event):
    text: str
    author: str


class Board(Topic):
    route = "boards/<slug:board>"
    events = [MessagePosted]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True

    @action
    def post(self, caller: Any, text: str, author: str) -> None:
        self.publish(MessagePosted(text, author))
