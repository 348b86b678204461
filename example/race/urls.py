from django.urls import path

from race import views

app_name = "race"

urlpatterns = [path("", views.race, name="race")]
