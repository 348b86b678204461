"""Template tags: ``{% load holdfast %}``. May import settings and topics; Django imports it by its name."""
