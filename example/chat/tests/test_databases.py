from django.test import SimpleTestCase

from harbor.databases import database


class Database(SimpleTestCase):
    def test_a_path_is_sqlite_as_holdfast_likes_it(self) -> None:
        settings = database("/srv/harbor.sqlite3")
        self.assertEqual(settings["ENGINE"], "django.db.backends.sqlite3")
        self.assertEqual(settings["NAME"], "/srv/harbor.sqlite3")
        self.assertEqual(settings["OPTIONS"]["transaction_mode"], "IMMEDIATE")

    def test_a_url_is_postgresql(self) -> None:
        settings = database("postgresql://me:p%40ss@db.example:5433/harbor?sslmode=require")
        self.assertEqual(settings["ENGINE"], "django.db.backends.postgresql")
        self.assertEqual(
            [settings[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")],
            ["me", "p@ss", "db.example", "5433", "harbor"],
        )
        self.assertEqual(settings["OPTIONS"], {"sslmode": "require"})

    def test_a_url_may_leave_everything_but_the_name_to_postgresql(self) -> None:
        settings = database("postgres:///harbor")
        self.assertEqual((settings["NAME"], settings["HOST"], settings["PORT"]), ("harbor", "", ""))
