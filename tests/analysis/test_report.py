"""The report: complete, self-contained, escaped, and working in a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.page import Intervals
from analysis.render import NothingToRender
from analysis.report import report
from tests.analysis.results_factory import Store

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
STEPS = {"unrolled": 8.0, "higher": 16.0, "quick": 1.0, "close": 1.01, "paired": 1.04}


class Page(HTMLParser):
    """What a browser would fetch or follow, and the text that it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.links += [attributes[name] or "" for name in ("href", "src") if name in attributes]
        self.ids += [attributes["id"] or ""] if "id" in attributes else []

    def handle_data(self, data: str) -> None:
        self.text += data


def fill(store: Store) -> None:
    """A timed experiment with a figure, a wrong implementation and a missing one."""
    figure = Intervals(name="times", title="Times", values=("step_ms",))
    store.declare(
        "speed",
        question="What is <fast>?",
        columns={"step_ms": "milliseconds", "error_float64": "error"},
        shown=["step_ms", "error_float64"],
        references=["higher", "paired"],
        ratio_of="step_ms",
        best_first="step_ms",
        figures=(figure,),
    )
    for name, ms in STEPS.items():
        samples = {"step_ms": [[ms * f, ms * f * 1.01] for f in (0.99, 1.0, 1.02)]}
        store.cell("speed", name, round_group="g", samples=samples, rows=[{"error_float64": 1e-16}])
    store.cell("speed", "plainly", {"dtype": "float64"}, rows=[{"error": 2e-15}])
    store.cell("speed", "off", status="wrong", reason="error 1 > <b>2</b>", rows=[{"error_float64": 0.5}])
    store.cell("speed", "absent", status="unavailable", reason="no library & no luck")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("report"))
    fill(store)
    return report(store.results)[0]


def test_it_needs_nothing_but_itself_and_the_cells_it_links_to(page: Path) -> None:
    content = Page(page.read_text())
    for link in content.links:
        if link.startswith("#"):
            assert link[1:] in content.ids
        elif not link.startswith("data:image/png;base64,"):
            assert (page.parent / link).is_file(), link
    assert sum(link.startswith("data:") for link in content.links) == 1
    linked = {link for link in content.links if link.startswith("cells/")}
    assert "cells" in content.text
    assert linked == {str(f.relative_to(page.parent)) for f in page.parent.glob("cells/speed/*/*.json")}


def test_the_answer_comes_first_and_says_who_is_right_and_fastest(page: Path) -> None:
    html = page.read_text()
    answer = Page(html[html.index('id="answer"') : html.index('id="run"')]).text
    lines = re.sub(r"\s*\n\s*", "\n", answer)
    assert "off\nsecond order\nwrong\n1 wrong\n0.500" in lines
    assert "unrolled\nsecond order\nright\n1 right\n1.0e-16" in lines
    assert "absent\nsecond order\nunavailable" in lines
    assert "plainly\nsecond order\nright\n1 right\n2.0e-15" in lines  # an error in the dtype of its case
    assert re.search(r"plain|10 tasks", lines)
    assert re.search(
        r"quick\n1\.00 \([\d.–]+\)\nclose\n", lines
    )  # the intervals of both others overlap, but a pair tells one apart
    assert html.index('id="answer"') < html.index('id="speed"') < html.index('id="missing"')


def test_every_cell_that_is_not_ok_is_told_with_its_reason_and_nothing_is_markup(page: Path) -> None:
    html = page.read_text()
    missing = Page(html[html.index('<section id="missing"') :]).text
    assert "error 1 > <b>2</b>" in missing
    assert "no library & no luck" in missing
    assert "<b>2</b>" not in html
    assert "What is &lt;fast&gt;?" in html


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingToRender, match="nothing to render"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_browser_sorts_a_column_by_its_numbers(page: Path, tmp_path: Path) -> None:
    """Click on step_ms of the experiment's table, once and twice, and let the page tell the order of its rows."""
    script = """<script>
        const table = document.querySelector("#speed table"), names = [];
        const button = [...table.querySelectorAll("th button")].find(b => b.textContent === "step_ms");
        for (const _ of [1, 2]) {
            button.click();
            names.push([...table.tBodies[0].rows].map(row => row.cells[0].textContent.trim()).join(" "));
        }
        document.title = names.join(" | ") + " | " + (document.body.scrollWidth <= innerWidth);
    </script></body>"""
    copy = tmp_path / "report.html"
    copy.write_text(page.read_text().replace("</body>", script))
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--dump-dom"]
    shown = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
    up, down, fits = re.findall(r"<title>(.*?)</title>", shown)[0].split(" | ")
    assert up.split()[:5] == ["quick", "close", "paired", "unrolled", "higher"]
    assert down.split()[:5] == ["higher", "unrolled", "paired", "close", "quick"]
    assert set(up.split()[5:]) == {"off", "absent"}  # without a value, last either way
    assert fits == "true"  # on a phone the tables scroll, not the page
