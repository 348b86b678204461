"""Tasks of the Celery worker, called without a broker."""

from unittest import mock

from django.test import override_settings
from holdfast.testing import LiveClient

from chat import tasks
from chat.models import Message
from chat.tests.harbor import HarborTestCase


class Digests(HarborTestCase):
    def test_a_digest_is_a_message_that_all_members_get(self) -> None:
        Message.objects.all().delete()
        self.say(self.lobby, "One", "Two", by="ada")
        self.say(self.lobby, "Three", by="grace")
        with LiveClient(self.user("linus")) as linus:
            linus.join("rooms/lobby")
            id_ = tasks.digest("lobby")
            body = "The last 24 hours: 3 messages. ada 2, grace 1."
            linus.expect("message.posted", id=id_, author="harbormaster", body=body)
        self.assertEqual(Message.objects.get(pk=id_).body, body)

    def test_where_nothing_was_said_it_says_so(self) -> None:
        Message.objects.all().delete()
        self.assertIn("all quiet", Message.objects.get(pk=tasks.digest("lobby")).body)

    def test_the_author_of_the_digest_cannot_sign_in(self) -> None:
        tasks.digest("lobby")
        self.assertFalse(self.user("harbormaster").has_usable_password())


@override_settings(CELERY_BROKER_URL="redis://localhost")
class Asking(HarborTestCase):
    def test_members_may_ask_for_one(self) -> None:
        self.sign_in("linus")
        self.assertContains(self.client.get("/rooms/lobby/"), "/rooms/lobby/digest/")
        with mock.patch.object(
            tasks.digest, "delay"
        ) as delay:  # what carries it to a worker is Celery's business
            self.assertRedirects(self.client.post("/rooms/lobby/digest/"), "/rooms/lobby/")
            self.assertEqual(self.client.post("/rooms/captains/digest/").status_code, 404)
        delay.assert_called_once_with("lobby")

    def test_without_a_broker_there_is_no_button_and_no_worker(self) -> None:
        self.sign_in("linus")
        with override_settings(CELERY_BROKER_URL=None):
            self.assertNotContains(self.client.get("/rooms/lobby/"), "/rooms/lobby/digest/")
            self.assertEqual(self.client.post("/rooms/lobby/digest/").status_code, 404)
