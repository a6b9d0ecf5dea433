"""A report in a real browser, on a phone and a desktop, light, dark and printed: nothing cut off, nothing asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from commands import Ran
from conftest import run
from playwright.sync_api import sync_playwright

pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
FIGURES = {
    "HNSW32, k1 1.2, b 0.75: hybrid ms": {"p50": 1.97, "p95": 2.6, "p99": 3.3},
    "growth": [{"documents": 1_000, "p50 ms": 1.0}, {"documents": 10_000, "p50 ms": 4.0}],
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "model").mkdir()
    lines = [json.dumps({"step": step, "loss": 1 / (1 + step), "nDCG@10": step / 100}) for step in range(0, 60, 10)]
    (folder / "model" / "log.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "search.json").write_text(json.dumps({"benchmark": "search", "command": "x", "figures": FIGURES}))
    done: Ran = run("report", folder, "--to", folder / "report.html", cwd=folder)
    assert done.code == 0, done.err
    assert "missing: a comparison of systems" in done.err
    return folder / "report.html"


def test_it_fits_a_phone_and_a_desktop_light_and_dark_and_asks_nobody(report: Path) -> None:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium (Debian's package chromium)")
    asked: list[str] = []
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        for width, scheme in ((360, "dark"), (1_280, "light")):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: faults.append(message.text))
            page.goto(report.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("figure svg").count() == 4
            drawn = page.locator("figure svg text").first.evaluate("one => getComputedStyle(one).fill")
            assert drawn == page.locator("body").evaluate("one => getComputedStyle(one).color")
            page.emulate_media(media="print")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.emulate_media(media="screen")
        plain = browser.new_context(bypass_csp=True).new_page()  # the checker is a script
        plain.goto(report.as_uri())
        assert Axe().run(plain).violations_count == 0
        browser.close()
    assert set(asked) == {report.as_uri()}
    assert faults == []
