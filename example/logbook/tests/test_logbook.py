import json
import tempfile
from io import StringIO
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction
from django.test import TransactionTestCase, override_settings
from holdfast.testing import JoinError, LiveClient

from harbor.tests.base import SeededTestCase
from logbook.live import Comments
from logbook.models import Comment, Entry


class LogbookTestCase(SeededTestCase):
    entry: Entry

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        cls.entry = Entry.objects.first()

    def comment(self, body: str, by: str = "grace") -> Comment:
        return Comment.objects.create(entry=self.entry, author=self.user(by), body=body)

    def joined(self, client: Any) -> Any:
        client.join(Comments(entry=self.entry.pk))
        return client


class Watching(LogbookTestCase):
    def test_a_posted_comment_appears_as_the_page_would_show_it(self) -> None:
        self.sign_in("grace")
        with LiveClient(self.user("ada")) as ada:
            self.joined(ada)
            self.client.post(self.entry.get_absolute_url(), {"body": "<b>Bold</b> & true"})
            html = ada.expect("holdfast.html", target="comments", swap="append").html
            self.assertIn("&lt;b&gt;Bold&lt;/b&gt; &amp; true", html)
            self.assertInHTML(html, self.client.get(self.entry.get_absolute_url()).content.decode())
            self.assertIn("3 comments", ada.expect("holdfast.html", target="count").html)

    def test_a_changed_one_changes_and_a_deleted_one_goes(self) -> None:
        comment = self.comment("A draft")
        self.sign_in("grace")
        with LiveClient(self.user("ada")) as ada:
            self.joined(ada)
            self.client.post(f"/logbook/comments/{comment.pk}/", {"body": "First"})
            changed = ada.expect("holdfast.html", target=f"comment-{comment.pk}", swap="morph").html
            self.assertIn("First", changed)
            self.assertIn("edited", changed)
            ada.expect("holdfast.html", target="count")
            self.client.post(f"/logbook/comments/{comment.pk}/delete/")
            ada.expect("holdfast.html", target=f"comment-{comment.pk}", swap="remove")

    def test_what_is_rolled_back_does_not_appear(self) -> None:
        with LiveClient(self.user("ada")) as ada:
            self.joined(ada)
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                self.comment("never")
                raise ZeroDivisionError
            ada.expect_nothing()

    def test_there_is_nothing_to_watch_at_an_entry_that_does_not_exist(self) -> None:
        with LiveClient(self.user("ada")) as ada, self.assertRaises(JoinError):
            ada.join(Comments(entry=999_999))

    def test_visitors_without_an_account_do_not_watch(self) -> None:
        with LiveClient() as visitor, self.assertRaises(JoinError):
            self.joined(visitor)


class OneCommit(TransactionTestCase):
    """Without a transaction of the caller, as in the shell."""

    def test_a_comment_that_cannot_be_published_is_not_saved(self) -> None:
        author = get_user_model().objects.create(username="grace")
        entry = Entry.objects.create(title="Gale", body="It blew.", author=author)
        with override_settings(HOLDFAST={"EVENT_BYTES": 10}), self.assertRaises(ValueError):
            Comment.objects.create(entry=entry, author=author, body="It did.")
        self.assertFalse(Comment.objects.exists())

    def test_a_comment_whose_removal_cannot_be_published_stays(self) -> None:
        author = get_user_model().objects.create(username="grace")
        entry = Entry.objects.create(title="Gale", body="It blew.", author=author)
        comment = Comment.objects.create(entry=entry, author=author, body="It did.")
        with override_settings(HOLDFAST={"EVENT_BYTES": 10}), self.assertRaises(ValueError):
            comment.delete()
        self.assertTrue(Comment.objects.exists())


class Fixtures(LogbookTestCase):
    def test_a_fixture_publishes_nothing_as_its_rows_may_not_be_complete_yet(self) -> None:
        comment = {"entry": self.entry.pk, "author": 999, "body": "It did.", "at": "2026-01-01T12:00:00Z"}
        author = {"username": "loaded", "password": "!"}
        with LiveClient(self.user("ada")) as ada, tempfile.NamedTemporaryFile("w", suffix=".json") as fixture:
            self.joined(ada)
            rows = [{"model": "logbook.comment", "pk": 99, "fields": comment}]
            json.dump([*rows, {"model": "auth.user", "pk": 999, "fields": author}], fixture)
            fixture.flush()
            call_command("loaddata", fixture.name, stdout=StringIO())
            ada.expect_nothing()
        self.assertEqual(Comment.objects.get(pk=99).author.username, "loaded")


class Pages(LogbookTestCase):
    def test_an_empty_comment_is_refused_with_a_reason(self) -> None:
        self.sign_in("grace")
        response = self.client.post(self.entry.get_absolute_url(), {"body": " "})
        self.assertContains(response, "This field is required.", status_code=422)

    def test_comments_of_others_can_be_neither_changed_nor_deleted(self) -> None:
        comment = self.comment("Mine")
        self.sign_in("linus")
        for path in ["", "delete/"]:
            with self.subTest(path=path):
                answer = self.client.post(f"/logbook/comments/{comment.pk}/{path}", {"body": "Yours"})
                self.assertEqual(answer.status_code, 404)
        self.assertEqual(Comment.objects.get(pk=comment.pk).body, "Mine")

    def test_the_list_counts_comments(self) -> None:
        self.sign_in("linus")
        self.assertContains(self.client.get("/logbook/"), "2 comments")
