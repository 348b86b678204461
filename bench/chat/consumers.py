"""The room as Channels' own tutorial writes it (https://channels.readthedocs.io/en/stable/tutorial/part_3.html)."""

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer


class Chat(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        self.group = f"chat_{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"joined": self.group})

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        await self.channel_layer.group_send(self.group, {"type": "chat.message", "body": content["body"]})

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json({"body": event["body"]})
