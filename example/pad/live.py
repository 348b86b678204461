"""The topic of a pad."""

from typing import Any

from holdfast.pad import SharedDocument

from pad import models


class Pad(SharedDocument):
    """One text. All who are signed in may read it, and its writers may change it."""

    route = "pads/<slug:pad>"

    pad: str

    def may_join(self, user: Any) -> bool:
        return user.is_authenticated and models.Pad.objects.filter(slug=self.pad).exists()

    def may_write(self, user: Any) -> bool:
        return models.Pad.objects.writable_by(user).filter(slug=self.pad).exists()
