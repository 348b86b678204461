from django.urls import include, path

from . import rights, views

urlpatterns = [
    path("me/", views.me),
    path("say/<slug:room>/", views.say),
    path("say-async/<slug:room>/", views.say_async),
    path("take-back/<slug:room>/", views.take_back),
    path("tick/<slug:symbol>/", views.tick),
    path("price/<slug:market>/", views.price),
    path("group-send/<slug:room>/", views.group_send),
    path("sayings/<slug:room>/", views.sayings),
    path("doze/<str:seconds>/", views.doze),
    path("client/", views.client),
    path("sign-in/<str:name>/", rights.sign_in),
    path("sign-out/", rights.sign_out),
    path("admit/<slug:room>/<str:name>/", rights.admit),
    path("withdraw/<slug:room>/<str:name>/", rights.withdraw),
    path("live/", include("holdfast.urls")),
    path("live/pour/<int:megabytes>/", views.pour),
    path("live/drip/", views.drip),
    path("state/", views.state),
    path("sinks/", views.sinks),
]
