"""The browser test of `docs/how-to/test-your-topics.md`, followed to the letter in a separate project."""

import re
from pathlib import Path

from tests.testing.test_how_to import PAGE, PROJECT, run

SETTINGS = """
INSTALLED_APPS = ["holdfast", "django.contrib.sessions", "django.contrib.staticfiles", *INSTALLED_APPS[:2], "chat"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "chat.urls"
STATIC_URL = "static/"
DATABASES["default"]["TEST"] = {"NAME": "test.sqlite3"}
"""

URLS = """
from django.shortcuts import render
from django.urls import path

urlpatterns = [path("rooms/<slug:room>/", lambda request, room: render(request, "room.html"))]
"""

TEMPLATE = """<!doctype html>{% load holdfast %}<p id="status"></p>{% live_script %}
<script type="module">
  import { connect } from "holdfast";
  const room = connect().topic("rooms/lobby");
  room.on("message.posted", ({ body }) => {
    document.body.append(Object.assign(document.createElement("p"), { className: "message", textContent: body }));
  });
  room.ready.then(() => { document.getElementById("status").textContent = "online"; });
</script>"""

LAUNCH = ".chromium.launch()"
"""The call on the page. Here the browser is Debian's, and is started as root."""


def test_its_test_passes(tmp_path: Path, chromium_program: Path) -> None:
    (shown,) = re.findall(r"```python\n# chat/browser_tests.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert LAUNCH in shown
    ours = f'.chromium.launch(executable_path="{chromium_program}", args=["--no-sandbox"])'
    files = {
        **PROJECT,
        "settings.py": PROJECT["settings.py"] + SETTINGS,
        "chat/urls.py": URLS,
        "chat/templates/room.html": TEMPLATE,
        "chat/browser_tests.py": shown.replace(LAUNCH, ours),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    command = ("-m", "django", "test", "--pattern", "browser_tests.py", "--settings", "settings")
    assert "Ran 1 test" in run(tmp_path, *command, "--pythonpath", ".")
