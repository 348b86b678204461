"""Requests with an answer, for the consumer of bench/chat's room, which has none."""

from typing import Any

from bench.chat.consumers import Chat


class Hall(Chat):
    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        if "echo" in content:
            await self.send_json({"ref": content["ref"], "result": content["echo"]})
        else:
            await super().receive_json(content, **kwargs)
