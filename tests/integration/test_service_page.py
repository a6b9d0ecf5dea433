"""The search page in a real browser: Chromium, as Debian ships it, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from services import NOTES, Running, running, write_index

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZES = {"phone": (360, 740), "desktop": (1280, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium (Debian's package chromium)")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, judged: Path, browser: Browser) -> Iterator[Running]:
    index = write_index(tmp_path_factory.mktemp("page") / "index", NOTES)
    with running(index, "--judgements", judged) as service:
        yield service


@pytest.fixture
def page(browser: Browser, service: Running) -> Iterator[Page]:
    """The page; it may ask nobody but the service, and may have no error."""
    asked: list[str] = []
    faults: list[Any] = []
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(error))
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        page.goto(f"http://127.0.0.1:{service.port}/")
        expect(page.locator("#about")).to_contain_text("3 documents")
        yield page
        assert all(url.startswith((f"http://127.0.0.1:{service.port}/", "data:")) for url in asked), asked
        assert faults == []


def _is_fault(message: ConsoleMessage) -> bool:
    # The browser itself notes each answer that is a problem; the page shows those.
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def hits(page: Page) -> list[str]:
    return [re.sub(r"^\d+\. ", "", text) for text in page.locator("#results .open").all_inner_texts()]


def test_results_come_as_somebody_types_and_a_link_brings_all_of_it_back(page: Page, browser: Browser) -> None:
    page.get_by_label("Query").press_sequentially("rotate key")
    expect(page.locator("#results .open").first).to_have_text("1. Keys")
    expect(page.get_by_role("status")).to_contain_text("ms")
    expect(page.locator("#results .hit").first.locator("mark")).to_have_text(["Rotate", "key"])
    expect(page.locator(".share").first).to_have_attribute("aria-label", re.compile(r"^BM25 \d+ %, vectors \d+ %$"))
    page.get_by_text("BM25", exact=True).click()
    expect(page.locator("#results .open")).to_have_count(1)
    expect(page.locator("#weighing")).to_be_hidden()
    again = browser.new_page()
    again.goto(page.url)
    expect(again.get_by_label("Query")).to_have_value("rotate key")
    expect(again.locator("#results .open")).to_have_count(1)
    again.close()


def test_a_weight_of_one_is_bm25_s_ranking_and_its_effect_is_seen_at_once(page: Page) -> None:
    page.get_by_label("Query").fill("restored backup")
    expect(page.locator("#results .open").first).to_be_visible()
    page.get_by_label("Weight of BM25").fill("1")
    expect(page.locator("#weight-shown")).to_have_text("1.00")
    expect(page.locator(".share").first).to_have_attribute("aria-label", "BM25 100 %, vectors 0 %")
    expect(page.locator("#results .open")).to_have_count(1)


def test_a_filter_on_a_declared_field_holds(page: Page) -> None:
    page.get_by_label("Query").fill("a")
    page.get_by_label("Query").fill("key backup log")
    expect(page.locator("#results .open")).to_have_count(3)
    page.get_by_role("button", name="Add a condition").click()
    page.get_by_label("Field").select_option("year")
    page.get_by_label("Comparison").select_option(">=")
    page.get_by_label("Value").fill("2025")
    expect(page.locator("#results .open")).to_have_count(2)
    assert set(hits(page)) == {"Keys", "Backups"}
    page.get_by_label("Value").fill("soon")
    expect(page.get_by_role("status")).to_contain_text("year")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#results .open")).to_have_count(3)


def test_values_of_the_declared_fields_are_counted_and_narrow_the_results_and_a_link_brings_them_back(
    page: Page, browser: Browser
) -> None:
    page.get_by_label("Query").fill("key backup log")
    facets = page.locator("#facets")
    expect(facets.locator("summary")).to_have_text("3 documents match")
    expect(facets.get_by_role("group", name="lang").locator("label")).to_have_text(["en (3)"])
    box = facets.get_by_label("2025 (1)")
    box.focus()
    page.keyboard.press("Space")
    expect(page.locator("#results .open")).to_have_count(1)
    expect(facets.locator("summary")).to_have_text("1 document matches")
    # The other years are still to be had, other fields are counted over what is left, and the focus is where it was.
    years = facets.get_by_role("group", name="year").locator("label")
    expect(years).to_have_count(3)
    expect(facets.get_by_role("group", name="lang").locator("label")).to_have_text(["en (1)"])
    expect(box).to_be_focused()
    facets.get_by_label("2026 (1)").check()
    expect(page.locator("#results .open")).to_have_count(2)
    page.get_by_role("button", name="Add a condition").click()
    page.get_by_label("Field").select_option("year")
    page.get_by_label("Comparison").select_option("!=")
    page.get_by_label("Value").fill("2026")
    expect(page.locator("#results .open")).to_have_count(1)
    again = browser.new_page()
    again.goto(page.url)
    expect(again.locator("#results .open")).to_have_text(["1. Backups"])
    expect(again.get_by_label("2025 (1)")).to_be_checked()
    expect(again.get_by_label("2026 (0)")).to_be_checked()
    expect(again.get_by_label("Value")).to_have_value("2026")
    again.close()


def test_side_by_side_shows_where_each_hit_moved(page: Page) -> None:
    page.get_by_label("Query").fill("key")
    page.get_by_label("Side by side").check()
    headings = page.locator("#results h2")
    expect(headings).to_have_text(["BM25", "Hybrid", "k-NN"])
    expect(page.locator("#results section").nth(1).locator(".moved").first).to_contain_text("rank")


def test_a_document_opens_with_its_neighbours_by_keyboard_and_closes_with_escape(page: Page) -> None:
    page.get_by_label("Query").fill("key")
    page.locator("#results .open").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Rotate the signing key every ninety days.")
    expect(page.locator("#neighbours li")).to_have_count(2)
    assert "document=keys" in page.url
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert "document=" not in page.url


def test_a_judgement_is_written_as_qrels(page: Page, judged: Path) -> None:
    page.get_by_label("Query").fill("signing")
    button = page.locator("#results .hit").first.get_by_role("button", name="Relevant", exact=True)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("status")).to_contain_text("Noted")
    assert (judged / "qrels" / "dev.tsv").read_text().splitlines()[1].endswith("\tkeys\t1")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_sticks_out(page: Page, size: str, scheme: Any, tmp_path: Path) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.get_by_label("Query").fill("key")
    for mode, columns in (("Hybrid", 1), ("Side by side", 3)):
        page.get_by_label(mode).check()
        expect(page.locator("#results h2")).to_have_count(columns)
        expect(page.locator("#facets summary")).to_contain_text("match")
        page.locator("#facets").evaluate("details => details.open = true")
        _check(page, width, tmp_path / f"{size}-{scheme}-{mode}.png")
    page.locator("#results .open").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    _check(page, width, tmp_path / f"{size}-{scheme}-document.png")


def _check(page: Page, width: int, picture: Path) -> None:
    folder = os.environ.get("PICTURES")
    page.screenshot(path=Path(folder) / picture.name.replace(" ", "-") if folder else picture)
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
