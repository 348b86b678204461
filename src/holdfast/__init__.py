"""Holdfast: live features for Django that hold."""

__version__ = "0.1.0.dev0"
