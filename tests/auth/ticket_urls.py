"""The URLs of a project that issues tickets."""

from django.urls import include, path

urlpatterns = [path("live/", include("holdfast.urls"))]
