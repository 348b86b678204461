from django.urls import path

from . import views, webhooks

urlpatterns = [
    path("ready/", views.ready),
    path("login/", views.sign_in),
    path("logout/", views.sign_out),
    path("publish/<slug:room>/<slug:value>/", views.publish),
    path("publish-many/<int:count>/", views.publish_many),
    path("paid/", webhooks.paid),
]
