from django.urls import path

from pad import views

app_name = "pad"

urlpatterns = [
    path("pads/", views.pads, name="pads"),
    path("pads/<slug:slug>/", views.pad, name="pad"),
]
