import base64

from holdfast.testing import CallError, JoinError, LiveClient
from pycrdt import Doc, Text

from harbor.tests.base import SeededTestCase
from pad import bots
from pad.live import Pad
from pad.models import Pad as PadModel


def typed(text: str) -> str:
    """Return the update of an editor that writes this into its own empty text."""
    doc: Doc = Doc()
    doc.get("text", type=Text).insert(0, text)
    return base64.b64encode(doc.get_update()).decode()


class Writing(SeededTestCase):
    def test_what_one_writes_reaches_the_others_and_the_page(self) -> None:
        with LiveClient(self.user("ada")) as ada, LiveClient(self.user("linus")) as linus:
            ada.join("pads/open-harbour")
            linus.join("pads/open-harbour")
            ada.call("pads/open-harbour", "update", data=typed("Bread: linus. "))
            linus.expect("document.updated")
        self.sign_in("linus")
        self.assertContains(self.client.get("/pads/open-harbour/"), "Bread: linus.")

    def test_only_its_writers_change_a_pad_that_names_them(self) -> None:
        with LiveClient(self.user("grace")) as grace, LiveClient(self.user("linus")) as linus:
            grace.join("pads/storm-plan")
            linus.join("pads/storm-plan")
            grace.call("pads/storm-plan", "update", data=typed("5. Tea. "))
            with self.assertRaises(CallError) as refused:
                linus.call("pads/storm-plan", "update", data=typed("6. Cake. "))
        self.assertEqual(refused.exception.reason, "read_only")
        self.assertIn("Tea", Pad(pad="storm-plan").text())
        self.assertNotIn("Cake", Pad(pad="storm-plan").text())

    def test_strangers_and_pads_that_do_not_exist_are_refused(self) -> None:
        with LiveClient() as stranger, self.assertRaises(JoinError):
            stranger.join("pads/open-harbour")
        with LiveClient(self.user("ada")) as ada, self.assertRaises(JoinError):
            ada.join("pads/nowhere")


class Pages(SeededTestCase):
    def test_the_list_leads_to_each_pad(self) -> None:
        self.sign_in("ada")
        page = self.client.get("/pads/")
        for pad in PadModel.objects.all():
            self.assertContains(page, pad.get_absolute_url())
            self.assertContains(self.client.get(pad.get_absolute_url()), 'data-writable="yes"')

    def test_the_page_says_that_a_reader_may_not_write(self) -> None:
        self.sign_in("linus")
        self.assertContains(self.client.get("/pads/storm-plan/"), "You may read this pad, and not change it.")

    def test_strangers_have_to_sign_in_and_other_addresses_do_not_exist(self) -> None:
        self.assertRedirects(self.client.get("/pads/open-harbour/"), "/login/?next=/pads/open-harbour/")
        self.sign_in("ada")
        self.assertEqual(self.client.get("/pads/nowhere/").status_code, 404)


class Gauge(SeededTestCase):
    def test_it_writes_lines_and_removes_its_oldest(self) -> None:
        for _ in range(bots.LINES + 3):
            bots.write_line()
        text = Pad(pad="tide-log").text()
        self.assertEqual(len(bots.readings(text)), bots.LINES)
        self.assertTrue(text.startswith("Tide gauge at the lock\n"))

    def test_it_leaves_alone_what_people_wrote(self) -> None:
        bots.write_line()
        with Pad(pad="tide-log").edit() as doc:
            doc.get("text", type=Text).insert(0, "Höher noch und naß 🌊\n")
        for _ in range(bots.LINES + 3):
            bots.write_line()
        self.assertIn("Höher noch und naß 🌊\nTide gauge at the lock\n", Pad(pad="tide-log").text())
