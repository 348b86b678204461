from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

# The sign-in page names the demo's users only where the settings are the demo's.
login = LoginView.as_view(redirect_authenticated_user=True, extra_context={"demo": settings.DEBUG})

urlpatterns = [
    path("", include("chat.urls")),
    path("", include("pad.urls")),
    path("orders/", include("orders.urls")),
    path("notices/", include("notices.urls")),
    path("logbook/", include("logbook.urls")),
    path("race/", include("race.urls")),
    path("bridge/", include("bridge.urls")),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    *staticfiles_urlpatterns(),  # where DEBUG is on, and for servers that serve no files themselves
]
