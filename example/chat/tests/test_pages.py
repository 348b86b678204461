import re
from datetime import timedelta

from django.db import connection
from django.http import HttpResponse
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from holdfast.testing import LiveClient

from chat import history
from chat.models import Membership, Message, Room
from chat.templatetags.chat_text import linked
from chat.tests.harbor import HarborTestCase


def without_secrets(response: HttpResponse) -> str:
    """The page without the CSRF token and the nonces, which differ in each."""
    return re.sub(r'(name="csrfmiddlewaretoken" value|nonce)="[^"]+"', "", response.content.decode())


class SigningIn(HarborTestCase):
    def test_every_page_of_the_chat_asks_who_you_are(self) -> None:
        for path in ["/", "/rooms/lobby/", "/rooms/lobby/messages/", "/rooms/none/"]:
            with self.subTest(path=path):
                self.assertRedirects(self.client.get(path), f"/login/?next={path}")

    def test_the_seeded_users_get_in_with_their_password(self) -> None:
        for name in ["ada", "grace", "linus"]:
            with self.subTest(name=name):
                response = self.client.post("/login/", {"username": name, "password": "holdfast"})
                self.assertRedirects(response, "/")
                self.client.logout()

    def test_a_wrong_password_does_not_get_in(self) -> None:
        response = self.client.post("/login/", {"username": "ada", "password": "holdfest"})
        self.assertContains(response, "do not belong together")
        self.assertNotIn("_auth_user_id", self.client.session)

    def test_signing_out_takes_a_post(self) -> None:
        self.sign_in("ada")
        self.assertEqual(self.client.get("/logout/").status_code, 405)
        self.assertRedirects(self.client.post("/logout/"), "/login/")
        self.assertNotIn("_auth_user_id", self.client.session)


class Rooms(HarborTestCase):
    def test_members_see_their_rooms(self) -> None:
        self.sign_in("ada")
        response = self.client.get("/")
        self.assertContains(response, "/rooms/lobby/")
        self.assertContains(response, "/rooms/captains/")

    def test_no_user_learns_of_rooms_that_are_closed_to_them(self) -> None:
        self.sign_in("linus")
        for path in ["/", "/rooms/lobby/"]:
            with self.subTest(path=path):
                response = self.client.get(path)
                self.assertContains(response, "/rooms/lobby/")
                self.assertNotContains(response, "aptains")

    def test_a_closed_room_looks_like_one_that_does_not_exist(self) -> None:
        self.sign_in("linus")
        with self.settings(DEBUG=False):
            for page in ["", "messages/"]:
                closed = self.client.get(f"/rooms/captains/{page}")
                missing = self.client.get(f"/rooms/nowhere/{page}")
                self.assertEqual(closed.status_code, 404)
                self.assertEqual(without_secrets(closed), without_secrets(missing))

    def test_a_user_without_a_room_sees_a_notice(self) -> None:
        self.user("linus").memberships.all().delete()
        self.sign_in("linus")
        self.assertContains(self.client.get("/"), "You are not in any room yet.")


class OneRoom(HarborTestCase):
    def test_it_shows_the_newest_messages_in_order(self) -> None:
        last = self.say(self.lobby, "first", "second", "third")
        self.sign_in("grace")
        shown = self.client.get("/rooms/lobby/").context["page"].messages
        self.assertEqual(len(shown), 50)
        self.assertEqual(shown[-3:], last)
        self.assertEqual([m.pk for m in shown], sorted(m.pk for m in shown))

    def test_it_shows_no_other_rooms_messages(self) -> None:
        self.say(self.captains, "between us")
        self.sign_in("linus")
        self.assertNotContains(self.client.get("/rooms/lobby/"), "between us")

    def test_a_message_soon_after_one_by_the_same_author_stands_under_it(self) -> None:
        ada, grace = self.user("ada"), self.user("grace")
        self.captains.messages.all().delete()
        noon = timezone.now().replace(hour=12)
        said = [(ada, 0), (ada, 9), (ada, 20), (grace, 21), (grace, 22), (grace, 13 * 60)]
        for author, minutes in said:
            Message.objects.create(
                room=self.captains, author=author, body="x", at=noon + timedelta(minutes=minutes)
            )
        page = history.page(self.captains)
        self.assertEqual(
            [message.pk in page.continued() for message in page.messages],
            [False, True, False, False, True, False],
        )

    def test_what_people_write_stays_text(self) -> None:
        self.say(self.lobby, "<script>alert(1)</script>")
        self.sign_in("grace")
        response = self.client.get("/rooms/lobby/")
        self.assertContains(response, "&lt;script&gt;alert(1)&lt;/script&gt;")
        self.assertNotContains(response, "<script>alert(1)")

    def test_it_tells_the_browser_from_where_to_go_on(self) -> None:
        self.sign_in("grace")
        response = self.client.get("/rooms/lobby/")
        self.assertContains(response, 'data-holdfast-cursor="rooms/lobby"')
        self.assertContains(response, f'"offset":{response.context["position"].offset}')

    def test_scripts_need_the_nonce_of_the_response(self) -> None:
        self.sign_in("grace")
        one, other = (self.client.get("/rooms/lobby/") for _ in range(2))
        policy = one.headers["Content-Security-Policy"]
        nonce = policy.split("'nonce-")[1].split("'")[0]
        self.assertContains(one, f'<script type="importmap" nonce="{nonce}">')
        self.assertNotIn(nonce, other.headers["Content-Security-Policy"])
        self.assertNotIn("unsafe", policy)

    def test_an_empty_room_says_that_it_is_empty(self) -> None:
        Message.objects.filter(room=self.lobby).delete()
        self.sign_in("grace")
        response = self.client.get("/rooms/lobby/")
        self.assertContains(response, "Nothing has been said here yet")
        self.assertContains(response, "This is where Lobby begins.")

    def test_more_messages_take_no_more_queries(self) -> None:
        self.sign_in("grace")
        Message.objects.filter(room=self.lobby).delete()
        self.say(self.lobby, "one")
        self.client.get("/rooms/lobby/")  # the first also makes the topic known to the log
        with CaptureQueriesContext(connection) as few:
            self.client.get("/rooms/lobby/")
        self.say(self.lobby, *map(str, range(40)))
        with self.assertNumQueries(len(few)):
            self.client.get("/rooms/lobby/")


class OlderMessages(HarborTestCase):
    def pages(self, slug: str) -> list[list[int]]:
        """The ids of each page from the newest to the oldest, as a browser gets them that scrolls up."""
        pages: list[list[int]] = []
        before = ""
        while True:
            answer = self.client.get(f"/rooms/{slug}/messages/{before}").json()
            pages.append([message["id"] for message in answer["messages"]])
            if not answer["more"]:
                return pages
            before = f"?before={pages[-1][0]}"

    def test_pages_hold_every_message_once_and_in_order(self) -> None:
        self.sign_in("linus")
        for count in [0, 1, 50, 51, 100, 101]:
            with self.subTest(messages=count):
                room = Room.objects.create(slug=f"with-{count}", name=str(count))
                Membership.objects.create(room=room, user=self.user("linus"))
                said = self.say(room, *map(str, range(count)))
                pages = self.pages(room.slug)
                self.assertEqual([each for page in reversed(pages) for each in page], [m.pk for m in said])
                self.assertTrue(all(len(page) == 50 for page in pages[:-1]))

    def test_a_message_has_the_form_of_its_event(self) -> None:
        (message,) = self.say(self.lobby, "hello", by="grace")
        self.sign_in("linus")
        newest = self.client.get("/rooms/lobby/messages/").json()["messages"][-1]
        self.assertEqual(set(newest), {"id", "author", "body", "at"})
        self.assertEqual((newest["id"], newest["author"], newest["body"]), (message.pk, "grace", "hello"))

    def test_there_is_nothing_before_the_first(self) -> None:
        first = Room.objects.get(slug="lobby").messages.first()
        assert first is not None
        self.sign_in("linus")
        answer = self.client.get(f"/rooms/lobby/messages/?before={first.pk}")
        self.assertEqual(answer.json(), {"messages": [], "more": False})

    def test_what_is_not_an_id_is_refused(self) -> None:
        self.sign_in("linus")
        for before in ["", "x", "-1", "1.5", "٣", "9" * 40, "1 OR 1=1"]:
            with self.subTest(before=before):
                answer = self.client.get("/rooms/lobby/messages/", {"before": before})
                self.assertEqual(answer.status_code, 400)


class Saying(HarborTestCase):
    """The form of a page without JavaScript."""

    def test_a_posted_form_is_a_message_that_others_see_at_once(self) -> None:
        self.sign_in("grace")
        with LiveClient(self.user("ada")) as ada:
            ada.join("rooms/lobby")
            ada.join("my-rooms/me")
            response = self.client.post("/rooms/lobby/say/", {"body": " By form "})
            self.assertRedirects(response, "/rooms/lobby/")
            ada.expect("message.posted", author="grace", body="By form")
            ada.expect("room.news", room="lobby", author="grace", body="By form")

    def test_invalid_messages_and_those_of_strangers_are_not_posted(self) -> None:
        before = Message.objects.count()
        self.sign_in("linus")
        for body in ["", "  ", "x" * 2001, "a\0b"]:
            self.client.post("/rooms/lobby/say/", {"body": body})
        self.assertEqual(self.client.post("/rooms/captains/say/", {"body": "hi"}).status_code, 404)
        self.assertEqual(Message.objects.count(), before)


class Searching(HarborTestCase):
    def test_it_finds_and_marks_what_was_said_in_this_room(self) -> None:
        self.say(self.lobby, "The <b>Kraken</b> woke")
        self.say(self.captains, "A kraken, between us")
        self.sign_in("grace")
        response = self.client.get("/rooms/lobby/search/", {"words": "kraken"})
        self.assertContains(response, "The &lt;b&gt;<mark>Kraken</mark>&lt;/b&gt; woke")
        self.assertNotContains(response, "<mark>kraken</mark>, between us")

    def test_what_is_not_there_is_not_found(self) -> None:
        self.sign_in("grace")
        for words in ["no such words", "", "a\0b", "%"]:
            with self.subTest(words=words):
                response = self.client.get("/rooms/lobby/search/", {"words": words})
                self.assertContains(response, "Nothing here says that.")

    def test_a_closed_room_is_not_searched(self) -> None:
        self.sign_in("linus")
        self.assertEqual(self.client.get("/rooms/captains/search/", {"words": "cake"}).status_code, 404)


class Links(SimpleTestCase):
    def test_addresses_become_links_and_all_else_stays_text(self) -> None:
        for body, shown in [
            (
                "see https://example.com/a?b=1&c=2.",
                'see <a href="https://example.com/a?b=1&amp;c=2" rel="nofollow noopener" target="_blank">https://example.com/a?b=1&amp;c=2</a>.',
            ),
            ("javascript:alert(1) <i>", "javascript:alert(1) &lt;i&gt;"),
            ("plain", "plain"),
        ]:
            with self.subTest(body=body):
                self.assertEqual(linked(body), shown)
