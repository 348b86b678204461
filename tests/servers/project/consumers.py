"""Ordinary Channels consumers, as they would stand in a project that had them before Holdfast."""

from typing import Any

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer

from .live import Room


class Echo(WebsocketConsumer):
    """Sync: says who you are, and returns what it is told."""

    def connect(self) -> None:
        self.accept()
        self.send(text_data=f"hello {self.scope['user']}")

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "close":
            self.close(code=4242)
        else:
            self.send(text_data=text_data, bytes_data=bytes_data)


class Chat(AsyncJsonWebsocketConsumer):
    """Async, with a group of the channel layer: what one says, all hear."""

    async def connect(self) -> None:
        self.group = f"chat.{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        await self.channel_layer.group_send(self.group, {"type": "chat.message", "text": content["text"]})

    async def chat_message(self, message: dict[str, Any]) -> None:
        await self.send_json({"text": message["text"]})


class Bridge(WebsocketConsumer):
    """Sync: passes what it is told to the subscribers of a topic, by the topic's group."""

    def connect(self) -> None:
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        room = Room(room=self.scope["url_route"]["kwargs"]["room"])
        message = {"type": "said", "id": 0, "text": text_data}
        async_to_sync(self.channel_layer.group_send)(room.group, message)
        self.send(text_data="sent")
