"""Stories: lists of steps, drawn by Hypothesis, which prefers simple ones, or all at random from a seed.

A step is a method of the story and its arguments. A story's possible steps are a list of kinds, each with the values that are
drawn for it; a kind that is listed twice happens twice as often.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from .conftest import PROFILE

Step = tuple[Any, ...]
Kinds = Sequence[tuple[Callable[..., Any], *tuple[Sequence[Any], ...]]]


def stories(kinds: Kinds, length: int) -> st.SearchStrategy[list[Step]]:
    """Return the strategy of stories. Hypothesis puts ``(None,)`` in the place of steps that are not needed for a failure."""
    steps = st.one_of(
        st.just((None,)),
        *[st.tuples(st.just(kind), *map(st.sampled_from, draws)) for kind, *draws in kinds],
    )
    return st.lists(steps, min_size=length, max_size=length)


def all_action(kinds: Kinds, length: int, seed: int) -> list[Step]:
    """A story that follows from its seed, twice as long as the others."""
    chance = random.Random(seed)
    drawn = [chance.choice(kinds) for _ in range(2 * length)]
    return [(kind, *map(chance.choice, draws)) for kind, *draws in drawn]


def seeds(times: int = 1) -> Iterator[int]:
    """Yield new seeds in each run, and print each, so that the last one printed is that of a failure."""
    first = random.randrange(10**6)
    for seed in range(first, first + times * PROFILE.max_examples):
        print(f"seed {seed}")
        yield seed
