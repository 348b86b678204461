from asgiref.sync import async_to_sync
from django.utils import timezone
from holdfast.models import LogTopic
from holdfast.testing import JoinError, LiveClient

from bridge import bots
from bridge.live import Bridge
from bridge.reports import report
from harbor.tests.base import SeededTestCase


class Bridges(SeededTestCase):
    def test_only_staff_come_in(self) -> None:
        with LiveClient(self.user("grace")) as grace, self.assertRaises(JoinError):
            grace.join("bridge")
        self.sign_in("grace")
        self.assertEqual(self.client.get("/bridge/").status_code, 404)
        self.sign_in("ada")
        self.assertContains(self.client.get("/bridge/"), "The bridge")

    def test_a_report_says_who_is_connected_by_what(self) -> None:
        with LiveClient(self.user("ada")) as ada:
            ada.join("bridge")
            Bridge().publish(report(0.002))
            numbers = ada.expect("server.report").numbers
        self.assertEqual(numbers["lag_ms"], 2.0)
        self.assertGreater(numbers["memory_mb"], 10)
        self.assertGreater(numbers["cpu_seconds"], 0)

    def test_a_pulse_comes_back_with_the_pages_own_time(self) -> None:
        with LiveClient(self.user("ada")) as ada:
            ada.join("bridge")
            ada.call("bridge", "pulse", sent=1234.5)
            self.assertEqual(ada.expect("pulse").sent, 1234.5)

    def test_the_longest_logs_are_listed(self) -> None:
        for name, head in [("inbox/1", 2), ("counter", 70), ("!control", 90)]:
            LogTopic.objects.create(name=name, head=head, epoch="k1", created_at=timezone.now())
        self.assertEqual(list(async_to_sync(bots.heads)().heads.items()), [("counter", 70), ("inbox/1", 2)])
