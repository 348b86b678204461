"""Uvicorn's configuration for very many connections."""

import gc

import uvicorn

GC_THRESHOLDS = (10_000, 20, 50)
"""See :class:`Config`."""


class Config(uvicorn.Config):
    """Uvicorn's configuration. In each worker it settles the garbage collector once everything is loaded.

    The collector walks through all objects that may be part of a cycle, again and again. What the project has loaded
    stays until the process ends, so it is taken out of the walk (``gc.freeze``). A connection is a handful of objects that live for
    hours, so the walks are made rare: the youngest generation every 10,000 new objects instead of 700. docs/architecture.md
    has the effect in figures.
    """

    def load(self) -> None:
        super().load()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
