"""The process: what it does at a fork and at its end, and small pieces for event loops.

Imports nothing of Holdfast, so that every package may use it.
"""
