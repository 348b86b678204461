from unittest.mock import patch

from django.test import Client
from django.urls import reverse

from harbor import navigation
from harbor.tests.base import SeededTestCase


class Navigation(SeededTestCase):
    def test_every_entry_leads_to_a_page_that_says_where_it_is(self) -> None:
        self.sign_in("ada")
        for entry in navigation.ENTRIES:
            with self.subTest(entry=entry.label):
                response = self.client.get(entry.url)
                self.assertContains(response, f'data-nav="{entry.icon}" aria-current="true"')

    def test_only_staff_see_the_entries_for_staff(self) -> None:
        staff = [entry for entry in navigation.ENTRIES if entry.staff]
        for name, sees in [("ada", True), ("linus", False)]:
            self.sign_in(name)
            page = self.client.get(reverse("chat:rooms")).content.decode()
            for entry in staff:
                with self.subTest(name=name, entry=entry.label):
                    self.assertEqual(f'data-nav="{entry.icon}"' in page, sees)

    def test_visitors_who_are_not_signed_in_have_no_navigation(self) -> None:
        self.assertNotContains(self.client.get("/login/"), "data-nav")


class NotFound(SeededTestCase):
    def test_a_closed_room_has_a_page_of_harbors_own_in_debug_mode_too(self) -> None:
        self.sign_in("linus")
        for debug in [True, False]:
            with self.subTest(debug=debug), self.settings(DEBUG=debug):
                response = self.client.get("/rooms/captains/")
                self.assertContains(response, "Not on this chart", status_code=404)
                self.assertNotContains(response, "aptains", status_code=404)

    def test_an_address_that_no_pattern_matches_is_a_developers_business(self) -> None:
        self.sign_in("linus")
        with self.settings(DEBUG=True):
            self.assertContains(self.client.get("/typo/"), "tried these URL patterns", status_code=404)
        with self.settings(DEBUG=False):
            self.assertContains(self.client.get("/typo/"), "Not on this chart", status_code=404)


class Mistakes(SeededTestCase):
    def test_a_mistake_of_the_server_has_a_page_of_harbors_own(self) -> None:
        self.sign_in("ada")
        self.client.raise_request_exception = False
        broken = patch("orders.views.render", side_effect=RuntimeError("aground"))
        with broken, self.assertLogs("django.request", "ERROR"):
            response = self.client.get("/orders/")
        self.assertContains(response, "Run aground", status_code=500)
        # Django renders it without a user.
        self.assertContains(response, '<body class="bare">', status_code=500)

    def test_a_form_that_is_no_longer_valid_says_what_to_do(self) -> None:
        with self.assertLogs("django.security.csrf", "WARNING"):
            response = Client(enforce_csrf_checks=True).post(
                "/login/", {"username": "ada", "password": "holdfast"}
            )
        self.assertContains(response, "Too long at anchor", status_code=403)
        self.assertContains(response, "Start again", status_code=403)
