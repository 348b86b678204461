"""Orders and notices: watched in several tabs, shipped in another process, and kept while their user is away."""

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person


def opened(person: Person, path: str) -> Page:
    page = person.page
    page.goto(f"{person.harbor.url}{path}")
    expect(page.locator("#status")).to_have_text("Online", timeout=40_000)
    return page


def order(page: Page, product: str) -> Locator:
    page.get_by_role("button", name=f"Order {product}").click()
    expect(page.locator(".order", has_text=product).first).to_be_visible()
    return page.locator(".order").first


def number(placed: Locator) -> str:
    return placed.get_attribute("data-id") or ""


def test_an_order_is_shipped_by_a_command_and_every_open_page_of_its_customer_shows_it(
    people: People, harbor: Harbor
) -> None:
    grace, ada = people("grace"), people("ada")
    grace.sign_in()
    ada.sign_in()
    counter = opened(ada, "/orders/counter/")
    placed = order(opened(grace, "/orders/"), "Lemon cake")
    elsewhere = grace.context.new_page()
    elsewhere.goto(f"{harbor.url}/notices/")
    expect(counter.locator(f"#order-{number(placed)}")).to_contain_text("grace")
    harbor.manage("ship", number(placed))
    expect(placed).to_have_attribute("data-state", "shipped")
    expect(placed.locator(".order-state")).to_have_text("Shipped")
    expect(elsewhere.get_by_text("Lemon cake: shipped")).to_be_visible()
    expect(elsewhere).to_have_title("(2) Notices · Harbor")
    expect(grace.page.locator("#bell")).to_have_text("2")
    elsewhere.get_by_role("button", name="Mark all as read").click()
    expect(grace.page.locator("#bell")).to_be_hidden()
    expect(grace.page).to_have_title("Orders · Harbor")


def test_staff_take_an_order_on_from_behind_the_counter(people: People) -> None:
    grace, ada = people("grace"), people("ada")
    grace.sign_in()
    ada.sign_in()
    placed = order(opened(grace, "/orders/"), "Storm lantern")
    counter = opened(ada, "/orders/counter/")
    row = counter.locator(f"#order-{number(placed)}")
    for state in ["packed", "shipped", "delivered"]:
        row.get_by_role("button", name="Next step").click()
        expect(row).to_have_attribute("data-state", state)
        expect(placed).to_have_attribute("data-state", state)
    expect(row.get_by_role("button")).to_be_hidden()


def test_what_is_shipped_while_the_server_is_away_is_there_when_it_is_back(
    people: People, harbor: Harbor
) -> None:
    grace = people("grace")
    grace.sign_in()
    placed = order(opened(grace, "/orders/"), "Signal flag set")
    harbor.kill()
    expect(grace.page.locator("#status")).to_contain_text("Reconnecting", timeout=40_000)
    harbor.manage("ship", number(placed))
    harbor.start()
    expect(placed).to_have_attribute("data-state", "shipped", timeout=60_000)
    expect(grace.page.locator("#bell")).to_have_text("2")
    grace.complaints = [each for each in grace.complaints if not any(known in each for known in AWAY)]


def test_the_shop_works_without_javascript(people: People) -> None:
    grace = people("grace", java_script_enabled=False)
    grace.sign_in()
    grace.page.goto(f"{grace.harbor.url}/orders/")
    expect(grace.page.locator("#status")).to_contain_text("Not live")
    order(grace.page, "Lemon cake")
    expect(grace.page.locator(".order-state").first).to_have_text("Placed")
