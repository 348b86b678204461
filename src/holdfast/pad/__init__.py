"""Shared editing with Yjs: a topic whose clients edit one document together.

Put ``"holdfast.pad"`` into ``INSTALLED_APPS``, migrate, and subclass :class:`SharedDocument` in an app's ``live.py``::

    from holdfast.pad import SharedDocument

    class Pad(SharedDocument):
        route = "pads/<slug:pad>"

        def may_join(self, user):
            return user.is_authenticated

The browser's part is the client's entry ``holdfast/yjs``. Needs the extra ``holdfast[pad]`` (pycrdt).
"""

# May import any package but connections and what is above them. `topic` is the topic, `document` its content for a page,
# `storage` keeps documents in the database, `updates` reads what clients send before anything else does, and `reader` the encoding underneath.

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.public_names import not_in, without_extra

if TYPE_CHECKING:
    from holdfast.pad.document import PageDocument
    from holdfast.pad.topic import DocumentUpdated, EditorMoved, SharedDocument

#: Public name: the module that defines it. Imported on first use: Django imports this package before any model.
_DEFINED_IN: dict[str, str] = {
    "DocumentUpdated": "holdfast.pad.topic",
    "EditorMoved": "holdfast.pad.topic",
    "PageDocument": "holdfast.pad.document",
    "SharedDocument": "holdfast.pad.topic",
}

__all__ = ["DocumentUpdated", "EditorMoved", "PageDocument", "SharedDocument"]


if not TYPE_CHECKING:  # type checkers would take it for a module that has every name

    def __getattr__(name: str) -> Any:
        if name not in _DEFINED_IN:
            raise not_in(__name__, name)
        try:
            defining = import_module(_DEFINED_IN[name])
        except ModuleNotFoundError as error:
            raise without_extra(__name__, error) from error
        value = globals()[name] = getattr(defining, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
