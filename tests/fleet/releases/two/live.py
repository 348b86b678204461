from typing import Any, Self

from msgspec import Struct

from holdfast import Event, Keep, Topic, action


class Author(Struct):
    name: str


class MessagePosted1(Event, name="message.posted"):
    text: str
    author: str


class MessagePosted(Event, replaces=MessagePosted1, publish_as=1):
    text: str
    author: Author

    @classmethod
    def upcast(cls, old: MessagePosted1) -> Self:
        return cls(old.text, Author(old.author))

    def downcast(self) -> MessagePosted1:
        return MessagePosted1(self.text, self.author.name)


class Board(Topic):
    route = "boards/<slug:board>"
    events = [MessagePosted]
    keep = Keep(days=1)

    def may_join(self, user: Any) -> bool:
        return True

    @action
    def post(self, caller: Any, text: str, author: str) -> None:
        self.publish(MessagePosted(text, Author(author)))
