"""The API that projects write against: topics, events, actions, presence, revocation, and the registry of routes.

:mod:`.topic` has :class:`~.topic.Topic`; :mod:`.declaration` reads its class when it is defined and reports mistakes there.
:mod:`.failures` says what an exception of the project's code means, and :mod:`.owner` how a user is named; the rooms above use
both. The package may import the hub and what is below it, and Django. It knows no connection, no transport and no authenticator.
"""
