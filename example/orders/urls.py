from django.urls import path

from orders import views

app_name = "orders"

urlpatterns = [
    path("", views.mine, name="mine"),
    path("counter/", views.counter, name="counter"),
    path("place/", views.place, name="place"),
    path("carrier/", views.carrier, name="carrier"),
    path("<int:pk>/dispatch/", views.dispatch, name="dispatch"),
]
