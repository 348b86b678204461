"""A consumer that reaches the subscribers of a topic, as the how-to shows it."""

from asgiref.sync import async_to_sync
from channels.generic.websocket import WebsocketConsumer

from .live import Room


class Bridge(WebsocketConsumer):
    """Passes each message on to the subscribers of a topic."""

    def connect(self):
        self.accept()

    def receive(self, text_data=None, bytes_data=None):
        room = Room(room=self.scope["url_route"]["kwargs"]["room"])
        message = {"type": "said", "id": 0, "text": text_data}
        async_to_sync(self.channel_layer.group_send)(room.group, message)
        self.send(text_data="sent")
