"""URLs of Holdfast's own views: ``path("live/", include("holdfast.urls"))``."""

from django.urls import path

from .views import ticket

app_name = "holdfast"
urlpatterns = [path("ticket", ticket, name="ticket")]
