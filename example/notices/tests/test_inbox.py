from django.db import transaction
from holdfast.testing import JoinError, LiveClient

from harbor.tests.base import SeededTestCase
from notices.live import Inbox, notify
from notices.models import Notice


class Inboxes(SeededTestCase):
    def test_a_notice_reaches_its_user_and_no_other(self) -> None:
        with LiveClient(self.user("ada")) as ada, LiveClient(self.user("grace")) as grace:
            ada.join("inbox/me")
            grace.join("inbox/me")
            notice = notify(self.user("ada"), "The tide is out", "/orders/")
            ada.expect("notice.added", id=notice.pk, text="The tide is out", url="/orders/")
            grace.expect_nothing()

    def test_no_user_joins_the_inbox_of_another(self) -> None:
        with LiveClient(self.user("ada")) as ada, self.assertRaises(JoinError):
            ada.join(Inbox(me=self.user("grace").pk))

    def test_reading_on_one_device_reads_on_all(self) -> None:
        first, second = (notify(self.user("ada"), text) for text in ["one", "two"])
        with LiveClient(self.user("ada")) as desk, LiveClient(self.user("ada")) as phone:
            desk.join("inbox/me")
            phone.join("inbox/me")
            self.assertEqual(phone.call("inbox/me", "read", up_to=first.pk), 1)
            desk.expect("notices.read", up_to=first.pk)
        self.assertEqual(list(Notice.objects.filter(read=False)), [second])

    def test_marking_read_notices_again_publishes_nothing(self) -> None:
        with LiveClient(self.user("ada")) as ada:
            ada.join("inbox/me")
            self.assertEqual(ada.call("inbox/me", "read", up_to=10**6), 0)
            ada.expect_nothing()

    def test_a_notice_of_a_transaction_that_is_rolled_back_is_no_notice(self) -> None:
        with LiveClient(self.user("ada")) as ada:
            ada.join("inbox/me")
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                notify(self.user("ada"), "never")
                raise ZeroDivisionError
            ada.expect_nothing()


class Pages(SeededTestCase):
    def test_every_page_knows_what_is_unread(self) -> None:
        notice = notify(self.user("ada"), "The tide is out")
        self.sign_in("ada")
        for path in ["/", "/orders/", "/notices/"]:
            with self.subTest(path=path):
                self.assertContains(self.client.get(path), f'data-unread="{notice.pk}"')

    def test_without_javascript_a_button_reads_all(self) -> None:
        notify(self.user("ada"), "The tide is out")
        notify(self.user("grace"), "Not hers to read")
        self.sign_in("ada")
        self.assertContains(self.client.get("/notices/"), "The tide is out")
        self.assertRedirects(self.client.post("/notices/read/"), "/notices/")
        self.assertEqual([n.user.username for n in Notice.objects.filter(read=False)], ["grace"])
