"""Ordinary Channels consumers, as they would stand in a project that had them before Holdfast.

Written as the how-to shows them; tests/asgi_servers/test_pages.py holds the two together.
"""

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer

from .live import Room


class Echo(WebsocketConsumer):
    """Sync: says who you are, and returns what it is told."""

    def connect(self):
        self.accept()
        self.send(text_data=f"hello {self.scope['user']}")

    def receive(self, text_data=None, bytes_data=None):
        if text_data == "close":
            self.close(code=4242)
        else:
            self.send(text_data=text_data, bytes_data=bytes_data)


class Chat(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.group = f"chat.{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content):
        await self.channel_layer.group_send(self.group, {"type": "chat.message", "text": content["text"]})

    async def chat_message(self, message):
        await self.send_json({"text": message["text"]})


class Bridge(WebsocketConsumer):
    """Passes what it is told to the subscribers of a topic."""

    def connect(self):
        self.accept()

    def receive(self, text_data=None, bytes_data=None):
        room = Room(room=self.scope["url_route"]["kwargs"]["room"])
        message = {"type": "said", "id": 0, "text": text_data}
        async_to_sync(self.channel_layer.group_send)(room.group, message)
        self.send(text_data="sent")
