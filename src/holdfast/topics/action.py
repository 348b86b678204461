"""Actions: methods of a topic that clients may call, with typed arguments."""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar, overload

import msgspec

from holdfast.limits.base import Rate

from .encoding import encode, unencodable, unsendable, vouches
from .event import WIRE_NAME
from .permissions import Permissions, read_permissions
from .schema import Misfit, why_unreadable, why_unsupported

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__holdfast_action__"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of the decorator."""

    name: str
    rate: Rate | None
    once: bool
    timeout: float | None
    requires: tuple[str, ...] = ()


@overload
def action(function: F, /) -> F: ...
@overload
def action(
    *,
    rate: str | Rate | None = None,
    once: bool = True,
    timeout: float | None = 30.0,
    name: str | None = None,
    requires: Permissions = None,
) -> Callable[[F], F]: ...
def action(
    function: F | None = None,
    /,
    *,
    rate: str | Rate | None = None,
    once: bool = True,
    timeout: float | None = 30.0,
    name: str | None = None,
    requires: Permissions = None,
) -> F | Callable[[F], F]:
    """Let clients that joined the topic call this method.

    ::

        @action(rate="5/s")
        def post(self, caller, body: Annotated[str, Meta(max_length=2000)]) -> int: ...

    Arguments arrive by name and are checked against their annotations before the method runs. Its return value is the
    caller's reply and is checked against the return annotation. A ``def`` runs in a thread and in one transaction; an
    ``async def`` runs on the event loop and in no transaction. The method itself stays an ordinary method.

    ``rate`` limits how often one user may call the action: in all processes together with ``REDIS``, otherwise in each.
    ``once`` keeps the answers of calls made with a key, so that a
    repeated call is not executed again; turn it off for actions that may run twice. ``timeout`` is in seconds, ``None``
    for no limit. ``name`` is the name on the wire, by default that of the method. ``requires`` names Django permissions that
    the caller must have, all of them: ``"orders.change_order"``, or a list. They are asked before ``may_call``; a yes holds for
    ``PERMISSION_CACHE_SECONDS`` on one connection.
    """

    def mark(function: F) -> F:
        if not inspect.isfunction(function):
            raise TypeError(
                f"@action: {function!r} is not a plain method; put @action above a def or an async def that takes "
                'self, caller and annotated arguments; its options have names, as in @action(rate="5/s")'
            )
        options = Options(
            name=function.__name__ if name is None else name,
            rate=limit,
            once=once,
            timeout=timeout,
            requires=permissions,
        )
        setattr(function, _MARK, options)
        return function

    permissions = read_permissions("@action(requires=…)", requires)
    limit = rate if rate is None or isinstance(rate, Rate) else _rate(rate)
    if not isinstance(once, bool):
        raise TypeError(
            f"@action(once={once!r}): expected True or False: are the answers of calls kept, so that a call sent again is "
            "not carried out again?"
        )
    seconds: object = timeout
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0
    ):
        raise TypeError(
            f"@action(timeout={timeout!r}): expected a number of seconds above zero, or None for no limit"
        )
    return mark if function is None else mark(function)


def _rate(text: str) -> Rate:
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise ValueError(f"@action(rate={text!r}): {error}") from None


def options_of(function: Any) -> Options | None:
    """Return the options of a function that ``@action`` decorates; ``None`` for another function."""
    return getattr(function, _MARK, None)


class Action:
    """A topic's method as clients call it: its name, its limits, and the types of its arguments and its result."""

    __slots__ = (
        "_decoder",
        "_label",
        "_result",
        "_vouched",
        "function",
        "is_async",
        "name",
        "once",
        "rate",
        "requires",
        "timeout",
    )

    def __init__(self, owner: type, function: Callable[..., Any], options: Options) -> None:
        """Read the method's signature. Raises ``TypeError`` when the declaration has a mistake."""
        self._label = f"{owner.__name__}.{function.__name__}"
        self.function = function
        self.name, self.rate = options.name, options.rate
        self.once, self.timeout = options.once, options.timeout
        self.requires = options.requires
        self.is_async = inspect.iscoroutinefunction(function)
        name: object = self.name
        if not isinstance(name, str) or not WIRE_NAME.fullmatch(name):
            raise TypeError(
                f"{self._label}: {self.name!r} cannot be an action's name; use 1 to 100 of A-Z a-z 0-9 _ . : -"
            )
        arguments, returns = _signature(self._label, owner, function)
        struct = msgspec.defstruct(
            self._label,
            # An argument that is left out keeps the method's own default.
            [
                (n, t) if required else (n, t | msgspec.UnsetType, msgspec.UNSET)
                for n, t, required in arguments
            ],
            kw_only=True,
            forbid_unknown_fields=True,
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct)
        self._result = msgspec.json.Decoder(returns)
        self._vouched = vouches(returns)

    @property
    def arguments(self) -> tuple[msgspec.structs.FieldInfo, ...]:
        """The arguments that a client gives, in the order of the method's parameters."""
        return msgspec.structs.fields(self._decoder.type)

    @property
    def returns(self) -> Any:
        """The type of the result; ``Any`` for a method without a return annotation."""
        return self._result.type

    def decode(self, raw: bytes | msgspec.Raw) -> dict[str, Any]:
        """Return the arguments of a call, given as JSON text; an empty ``raw`` is a call without arguments.

        Raises ``msgspec.ValidationError``, which names the place, when they do not fit or do not exist, and
        ``msgspec.DecodeError`` when they cannot be read at all.
        """
        if not len(memoryview(raw)):
            raw = b"{}"
        arguments = self._decoder.decode(raw)
        return {
            name: value
            for name in arguments.__struct_fields__
            if (value := getattr(arguments, name)) is not msgspec.UNSET
        }

    def encode_result(self, value: Any) -> bytes:
        """Return the JSON text of the method's return value, checked against its return annotation.

        Raises ``TypeError`` or ``ValueError``, for the developer, when the value does not fit or a browser could not read
        it.
        """
        try:
            text = encode(value)
            self._result.decode(text)
            found = None if self._vouched else unsendable(value)
        except msgspec.ValidationError as error:
            misfit = Misfit.of(error)
            at = f" at {misfit.where}" if misfit.where else ""
            raise TypeError(
                f"{self._label} returned {_short(value)}, which is not what its annotation says: {misfit.what}{at}"
            ) from None
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            found = unencodable(value)
            at = f" at {found.where}" if found is not None and found.where else ""
            raise TypeError(
                f"{self._label} returned {_short(value)}, which cannot be sent as JSON{at} ({error}); "
                "return plain values, such as its id or its fields"
            ) from error
        if found is not None:
            at = f" at {found.where}" if found.where else ""
            raise found.error(
                f"{self._label} returned {_short(value)}, which cannot be sent{at}: {found.what}"
            )
        return text

    def __repr__(self) -> str:
        return f"<action {self._label}>"


def _signature(
    label: str, owner: type, function: Callable[..., Any]
) -> tuple[list[tuple[str, Any, bool]], Any]:
    """Return the arguments (name, type, required) and the type of the result."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{label}: an action returns once and cannot yield; publish events for what comes later"
        )
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2 or parameters[1].name != "caller":
        raise TypeError(
            f"{label}: the first two parameters of an action are self and caller (who is calling); write: "
            f"def {function.__name__}(self, caller, …)"
        )
    for parameter in parameters[2:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(
                f"{label}: parameter {parameter} cannot be filled by a client, whose arguments have names; "
                "declare each argument as `name: type`"
            )
        if parameter.annotation is parameter.empty:
            raise TypeError(
                f"{label}: parameter {parameter.name!r} has no annotation, so what clients send could not be checked; "
                f"write its type, such as {parameter.name}: str"
            )
    wanted = {parameter.name for parameter in parameters[2:]} | {"return"}
    hints = annotations_of(label, owner, function, wanted)
    for name, hint in hints.items():
        why = why_unsupported(hint) or (why_unreadable(hint) if name == "return" else None)
        if why:
            what = "the return annotation" if name == "return" else f"parameter {name!r}"
            raise TypeError(f"{label}: {what}: {why}")
    arguments = [(p.name, hints[p.name], p.default is p.empty) for p in parameters[2:]]
    return arguments, hints.get("return", Any)


def annotations_of(label: str, owner: type, function: Callable[..., Any], wanted: set[str]) -> dict[str, Any]:
    """Evaluate only the annotations of ``wanted``: the type in `caller: Caller` is often imported for type checkers only."""
    stand_in = types.FunctionType(function.__code__, function.__globals__)
    stand_in.__annotations__ = {k: v for k, v in function.__annotations__.items() if k in wanted}
    nested = {k: v for k, v in vars(owner).items() if isinstance(v, type)}
    try:
        return typing.get_type_hints(stand_in, localns={owner.__name__: owner, **nested}, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{label}: an annotation cannot be resolved ({error}); import or define that name in the module itself, "
            "outside of `if TYPE_CHECKING` and of functions"
        ) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
