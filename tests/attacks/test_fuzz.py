"""A short run of the fuzzers, from a new seed each time; `scripts/fuzz` runs longer, guided by coverage."""

import random

import pytest

from .fuzzing import TARGETS, corpus, run


@pytest.mark.parametrize("name", [*TARGETS])
def test_no_input_of_the_corpus_fails(name: str) -> None:
    inputs = corpus(name)
    assert inputs
    for data in inputs:
        TARGETS[name](data)


@pytest.mark.parametrize("name", [*TARGETS])
def test_no_mutated_input_fails(name: str) -> None:
    seed = random.randrange(1 << 31)
    print(f"seed {seed}")
    tried, _ = run(name, runs=2000, seconds=30, seed=seed)

    assert tried > 100
