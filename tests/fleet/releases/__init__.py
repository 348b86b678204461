"""One app in three releases, which change an event as docs/how-to/change-an-event.md says.

``one`` has ``message.posted`` as it was. ``two`` knows the new version, and still publishes the old one. ``three`` publishes the new
one. ``FLEET_RELEASE`` says which of them a process is.
"""
