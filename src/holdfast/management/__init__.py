"""The commands of ``manage.py``: options, checks of what was given, and what is printed.

The work is done elsewhere: :mod:`holdfast.server.serving` runs processes, the log trims itself. May import every other
package; none imports this one.
"""
