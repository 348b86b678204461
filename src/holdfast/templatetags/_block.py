"""Block tags whose opening is made before the block is rendered.

Django's ``simple_block_tag`` renders the block first. A tag that reads a position has to read it before the block reads its data.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import signature

from django import template
from django.template import TemplateSyntaxError
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.utils.safestring import SafeString

Opening = Callable[..., SafeString]
Arguments = Iterable[FilterExpression]
KeywordArguments = Mapping[str, FilterExpression]


class _Block(template.Node):
    def __init__(
        self, opening: Opening, args: Arguments, kwargs: KeywordArguments, contents: NodeList, end: str
    ) -> None:
        self._opening, self._args, self._kwargs = opening, args, kwargs
        self.nodelist, self._end = contents, end

    def render(self, context: Context) -> SafeString:
        args = [each.resolve(context) for each in self._args]
        kwargs = {name: each.resolve(context) for name, each in self._kwargs.items()}
        opened = self._opening(*args, **kwargs)
        return SafeString(f"{opened}{self.nodelist.render(context)}{self._end}")


def block(register: template.Library, end: str) -> Callable[[Opening], Opening]:
    """Register a function as a block tag. It gets the tag's arguments, and returns the opening tag of an element, whose
    closing tag is ``end``."""

    def decorate(opening: Opening) -> Opening:
        name = opening.__name__

        @wraps(opening)
        def compiled(parser: Parser, token: Token) -> _Block:
            args, kwargs = _arguments(parser, token, name, opening)
            contents = parser.parse((f"end{name}",))
            parser.delete_first_token()
            return _Block(opening, args, kwargs, contents, end)

        register.tag(name, compiled)
        return opening

    return decorate


def _arguments(
    parser: Parser, token: Token, name: str, function: Opening
) -> tuple[Arguments, KeywordArguments]:
    """Read the arguments of a tag. Django's own function for this takes other arguments from one release to the next."""
    args: list[FilterExpression] = []
    kwargs: dict[str, FilterExpression] = {}
    for bit in token.split_contents()[1:]:
        found = token_kwargs([bit], parser)
        if kwargs and not found:
            raise TemplateSyntaxError(f"{{% {name} %}}: {bit} has to stand before the arguments with names")
        if not kwargs.keys().isdisjoint(found):
            raise TemplateSyntaxError(f"{{% {name} %}}: {bit} is the second argument of its name")
        kwargs.update(found)
        if not found:
            args.append(parser.compile_filter(bit))
    try:
        signature(function).bind(*args, **kwargs)
    except TypeError as error:
        raise TemplateSyntaxError(f"{{% {name} %}}: {error}") from None
    return args, kwargs
