"""Events: small typed values, checked when they are published and when they are read back."""

import functools
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

import msgspec

from holdfast.protocol.construction import Explained

from .encoding import LARGEST, Unsendable, encode, unencodable, unsendable, vouches
from .schema import Misfit, why_unreadable, why_unsupported

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
WIRE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}")
_RESERVED = ("decode", "encode", "upcast", "downcast")


def _wire_name(class_name: str) -> str:
    """``MessagePosted`` is ``message.posted``, ``HTTPDone`` is ``http.done``."""
    words = [word.lower() for part in class_name.split("_") for word in _WORD.findall(part)]
    return ".".join(words)


class EventType(Explained):
    """The class of event classes: takes ``durable``, ``name``, ``replaces``, ``version`` and ``publish_as`` from the class statement."""

    def __new__(
        cls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        durable: bool | None = None,
        name: str | None = None,
        replaces: "type[Event] | None" = None,
        version: int | None = None,
        publish_as: int | None = None,
        **options: Any,
    ) -> "EventType":
        if durable is not None and not isinstance(durable, bool):
            raise TypeError(
                f"event {class_name}: durable={durable!r} is neither True nor False; an event that is never stored is "
                f"class {class_name}(Event, durable=False)"
            )
        event: Any = _structured(super().__new__, cls, class_name, bases, namespace, options)
        inherited = getattr(replaces, "__wire_name__", None) or _wire_name(class_name)
        wire_name: Any = inherited if name is None else name
        if not isinstance(wire_name, str) or not WIRE_NAME.fullmatch(wire_name):
            raise TypeError(
                f"event {class_name}: {wire_name!r} cannot be its name on the wire; give it one of 1 to 100 characters "
                f'out of A-Z a-z 0-9 _ . : -, as in: class {class_name}(Event, name="message.posted")'
            )
        for field in _RESERVED:
            if field in event.__struct_fields__:
                raise TypeError(
                    f"event {class_name}: a field {field!r} would hide Event.{field}; name the field otherwise, or keep "
                    f'its name on the wire with: {field}_: … = msgspec.field(name="{field}")'
                )
        event.__wire_name__ = wire_name
        if durable is not None:
            event.__durable__ = durable
        _set_version(event, replaces, version, publish_as)
        return event  # type: ignore[no-any-return]


def _set_version(event: Any, replaces: Any, version: object, publish_as: object) -> None:
    """Note the version of an event's class, after checking that the class can be converted to and from the one before."""
    label = f"event {event.__name__}"
    if replaces is not None:
        if getattr(replaces, "__wire_name__", None) != event.__wire_name__:
            raise TypeError(
                f"{label}: replaces={replaces!r} is not the version before, an Event with the name {event.__wire_name__!r}; keep "
                f'that class as it was: class {event.__name__}1(Event, name="{event.__wire_name__}")'
            )
        if version is not None:
            raise TypeError(f"{label}: version= follows from replaces=; leave it out")
        for method in ("upcast", "downcast"):
            if method not in vars(event):
                raise TypeError(
                    f"{label} replaces {replaces.__name__} and has no {method}; write: @classmethod def upcast(cls, old: "
                    f"{replaces.__name__}) -> Self, and def downcast(self) -> {replaces.__name__}"
                )
        version = replaces.__version__ + 1
    given = 1 if version is None else version
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise TypeError(f"{label}: version={version!r} is not one; versions are 1, 2, 3, …")
    event.__version__, event.__replaces__ = given, replaces
    event.__stored_name__ = event.__wire_name__ if given == 1 else f"{event.__wire_name__}@{given}"
    if not WIRE_NAME.fullmatch(event.__stored_name__.replace("@", ".")):
        raise TypeError(
            f"{label}: {event.__stored_name__!r}, its name in the log, has more than 100 characters; give it a shorter name"
        )
    event.__publish_as__ = None if publish_as in (None, given) else publish_as
    if publish_as is not None and publish_as not in versions_of(event):
        known = ", ".join(map(str, versions_of(event)))
        raise TypeError(f"{label}: publish_as={publish_as!r} is none of its versions: {known}")


def versions_of(event: "type[Event]") -> "dict[int, type[Event]]":
    """Return the classes of an event that are still there, by their versions, the oldest first."""
    before: dict[int, type[Event]] = {} if event.__replaces__ is None else versions_of(event.__replaces__)
    return {**before, event.__version__: event}


def _structured(
    make: Callable[..., Any], cls: type, class_name: str, bases: Any, namespace: Any, options: Any
) -> Any:
    try:
        return make(cls, class_name, bases, namespace, **options)
    except TypeError as error:
        known = "; a class statement takes durable=False and name=… here, and the options of msgspec.Struct"
        hint = known if "keyword argument" in str(error) else ""
        raise TypeError(f"event {class_name}: {error}{hint}") from error


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, metaclass=EventType, frozen=True):
    """Subclass it with typed fields, and list the subclass in a topic's ``events``::

        class MessagePosted(Event):  # "message.posted" on the wire
            id: int
            body: str

        class Typing(Event, durable=False):  # sent to current subscribers, never stored
            author: str

        class Renamed(Event, name="room.name_changed"):
            title: Annotated[str, Meta(max_length=80)]

        class MessagePosted(Event, replaces=MessagePosted1):  # the second version of an event
            author: Author

            @classmethod
            def upcast(cls, old: MessagePosted1) -> Self: ...

            def downcast(self) -> MessagePosted1: ...

    An event that ``replaces`` another has its name and the next version. Clients that know only the version before get what
    ``downcast`` returns, and stored events of that version are read through ``upcast``. ``publish_as=1`` publishes the older version
    still, while servers run that do not know the newer one. ``version=2`` is for a class whose older versions are gone.

    Fields may have any type that msgspec can turn into JSON and back, except bytes. Events are immutable. Types are checked
    when an event is published, not when it is made. :meth:`encode` then raises ``TypeError`` for a value of a wrong type, and
    ``ValueError`` for one that breaks a ``Meta`` constraint or that JavaScript cannot hold (an integer beyond ±(2^53 - 1),
    ``nan``, infinity); nothing is sent.
    """

    __wire_name__: ClassVar[str]
    __durable__: ClassVar[bool] = True
    __version__: ClassVar[int]
    __replaces__: "ClassVar[type[Event] | None]"
    __stored_name__: ClassVar[str]
    __publish_as__: ClassVar[int | None]

    # The arguments of a class statement, for type checkers; EventType takes them at run time.
    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            durable: bool = True,
            name: str | None = None,
            replaces: "type[Event] | None" = None,
            version: int | None = None,
            publish_as: int | None = None,
            **options: Any,
        ) -> None: ...

    def encode(self) -> bytes:
        """Return the JSON text of the fields, after checking that it can be read back."""
        form = _form(type(self))
        try:
            payload = encode(self)
            form.decoder.decode(payload)
        except msgspec.ValidationError as error:
            unreadable = _unreadable(self, self.__struct_fields__)  # the decoder was given null for nan
            raise unreadable or _complaint(self, error) from None
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            found = unencodable(self) or Unsendable(where="", what=str(error), error=TypeError)
            raise _refusal(self, found) from error
        if form.doubtful and (unreadable := _unreadable(self, form.doubtful)):
            raise unreadable
        return payload

    @classmethod
    def upcast(cls, old: Any) -> Self:
        """Return the event that the version before says. An event with ``replaces`` defines it; it must not block."""
        raise NotImplementedError

    def downcast(self) -> "Event":
        """Return the event of the version before that says this. An event with ``replaces`` defines it; it must not block."""
        raise NotImplementedError

    def stored(self) -> tuple[str, bytes]:
        """Return the name in the log and the JSON text, both of the version that is published now. Raises what :meth:`encode` raises."""
        payload = self.encode()
        if self.__publish_as__ is None:
            return self.__stored_name__, payload
        event: Event = self
        while event.__version__ > self.__publish_as__:
            event = event.downcast()
        return event.__stored_name__, event.encode()

    @classmethod
    def decode(cls, payload: bytes | str) -> Self:
        """Return the event of a JSON text; unknown fields are ignored.

        Raises ``msgspec.ValidationError`` when the text does not fit, ``msgspec.DecodeError`` when it is not JSON.
        """
        return _form(cls).decoder.decode(payload)  # type: ignore[no-any-return]


class _Form(msgspec.Struct, frozen=True, kw_only=True):
    """The checks for events of one class: the decoder, and the fields whose types do not guarantee sendable values."""

    decoder: msgspec.json.Decoder[Any]
    doubtful: tuple[str, ...]


@functools.cache
def _form(event: type[Event]) -> _Form:
    doubtful = tuple(field.name for field in msgspec.structs.fields(event) if not vouches(field.type))
    return _Form(decoder=msgspec.json.Decoder(event), doubtful=doubtful)


def _unreadable(event: Event, fields: Iterable[str]) -> Exception | None:
    """Return an error for the first of these fields that a browser would read as something else."""
    for name in fields:
        value = getattr(event, name)
        kind = type(value)
        if (kind is int and -LARGEST <= value <= LARGEST) or (kind is float and value - value == 0):
            continue  # most are, and this runs for each event that is published
        if value is not None and (found := unsendable(value)):
            return _refusal(event, found.within(name))
    return None


def _refusal(event: Event, found: Unsendable) -> Exception:
    where = f"{type(event).__name__}.{found.where}" if found.where else type(event).__name__
    return found.error(f"{where}: {_lower(found.what)}")


def check_event(event: type[Event]) -> None:
    """Raise ``TypeError`` when a field's type cannot be sent."""
    try:
        fields = msgspec.structs.fields(event)
    except NameError as error:
        raise TypeError(
            f"event {event.__name__}: {error}; define or import that name before the event"
        ) from error
    for field in fields:
        if why := why_unsupported(field.type) or why_unreadable(field.type):
            raise TypeError(f"event {event.__name__}: field {field.name!r}: {why}")


def _complaint(event: Event, error: msgspec.ValidationError) -> Exception:
    misfit = Misfit.of(error)
    where = f"{type(event).__name__}.{misfit.where}" if misfit.where else type(event).__name__
    value = _at(event, misfit.where)
    return (TypeError if misfit.is_type else ValueError)(f"{where}: {misfit.what}{value}")


def _at(event: Event, where: str) -> str:
    """Return the value that did not fit, shortened, in parentheses; an empty text if it is not a plain field."""
    names = {field.encode_name: field.name for field in msgspec.structs.fields(type(event))}
    field = names.get(where)
    if field is None:
        return ""
    text = repr(getattr(event, field))
    return f" ({text if len(text) <= 60 else text[:57] + '…'})"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
