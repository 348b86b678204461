"""Ordinary Channels consumers, as they would stand in a project that had them before Holdfast.

Written as the how-to shows them; tests/asgi_servers/test_pages.py holds the two together.
"""

from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer


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


class Echo(WebsocketConsumer):
    """Sync: greets the user, and returns each message."""

    def connect(self):
        self.accept()
        self.send(text_data=f"hello {self.scope['user']}")

    def receive(self, text_data=None, bytes_data=None):
        if text_data == "close":
            self.close(code=4242)
        else:
            self.send(text_data=text_data, bytes_data=bytes_data)
