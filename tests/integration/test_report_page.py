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
    comparison = {
        "mean": 0.4, "interval": (0.3, 0.5), "difference": 0.1, "difference_interval": (0.05, 0.15), "p_value": 0.01,
        "p_holm": 0.02, "wins": 160, "losses": 100, "ties": 63,
    }  # fmt: skip
    latency = {"p50": 1.5, "p95": 2.5, "p99": 3.5, "queries_per_second": 1_234.5}
    rows = [
        {"name": name, "means": {"nDCG@10": 0.4, "RR@10": 0.5, "R@100": 0.6}, "comparison": comparison, "missing": 0,
         "latency": latency, "bytes": 123_456_789, "is_optimal": True, "trained_on": 0.0}
        for name in ("bm25", "a rather long name of a system")
    ]  # fmt: skip
    compared = {
        "split": "test",
        "baseline": "bm25",
        "queries": 323,
        "measures": ["nDCG@10", "RR@10", "R@100"],
        "rows": rows,
    }
    (folder / "compared.json").write_text(json.dumps(compared))
    (folder / "search.json").write_text(json.dumps({"benchmark": "search", "command": "x", "figures": FIGURES}))
    done: Ran = run("report", folder, "--out", folder / "report.html", cwd=folder)
    assert done.code == 0, done.err
    assert "missing: a choice of the fusion" in done.err
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
            assert page.locator("figure svg").count() == 6
            drawn = page.locator("figure svg text").first.evaluate("one => getComputedStyle(one).fill")
            assert drawn == page.locator("body").evaluate("one => getComputedStyle(one).color")
        page.set_viewport_size({"width": 794, "height": 1_123})  # A4
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") <= 794
        plain = browser.new_context(bypass_csp=True).new_page()  # the checker is a script
        plain.goto(report.as_uri())
        assert Axe().run(plain).violations_count == 0
        browser.close()
    assert set(asked) == {report.as_uri()}
    assert faults == []
