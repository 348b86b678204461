from django.urls import path

from chat import views

app_name = "chat"

urlpatterns = [
    path("", views.rooms, name="rooms"),
    path("rooms/<slug:slug>/", views.room, name="room"),
    path("rooms/<slug:slug>/digest/", views.digest, name="digest"),
    path("rooms/<slug:slug>/search/", views.search, name="search"),
    path("rooms/<slug:slug>/say/", views.say, name="say"),
    path("rooms/<slug:slug>/messages/", views.messages, name="messages"),
]
