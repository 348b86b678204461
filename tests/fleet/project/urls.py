from django.urls import path

from . import views

urlpatterns = [
    path("ready/", views.ready),
    path("login/", views.sign_in),
    path("publish/<slug:room>/<slug:value>/", views.publish),
]
