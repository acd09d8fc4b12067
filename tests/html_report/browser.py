# SPDX-License-Identifier: GPL-2.0-or-later
"""Opens a report in a headless Chromium, without network, and returns what it shows."""

import html
import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import image

WIDTH, SCALE = 1200, 2  # CSS pixels, and pixels of the screenshot for each
TIMEOUT = 60

# Added to a copy of the report: LISTEN before everything else, TELL at its end.
LISTEN = """<script>
window.problems = [];
window.addEventListener("error", (event) => problems.push(String(event.message)));
window.addEventListener("securitypolicyviolation", (event) => problems.push(`refused: ${event.violatedDirective}`));
</script>"""
TELL = """<script>
window.addEventListener("load", () => {
    const charts = [...document.querySelectorAll("canvas")].map((canvas) => {
        const chart = Chart.getChart(canvas), box = canvas.getBoundingClientRect(), area = chart.chartArea;
        return {
            title: canvas.closest("figure").querySelector("h3").textContent, label: canvas.getAttribute("aria-label"),
            axes: Object.values(chart.scales).map((scale) => scale.options.title.display ? scale.options.title.text : null),
            rows: canvas.closest("figure").querySelectorAll("tbody tr").length,
            box: [box.left + area.left, box.top + area.top, area.width, area.height],
            sets: chart.data.datasets.map(({label, data, backgroundColor}) =>
                ({name: label, color: backgroundColor, drawn: data.some((value) => (value.y ?? value) > 0)})),
        };
    });
    document.documentElement.dataset.told = JSON.stringify({
        problems, charts, text: document.body.innerText, title: document.title, height: document.documentElement.scrollHeight,
        headings: [...document.querySelectorAll("h2")].map((heading) => heading.textContent),
        tags: [...new Set([...document.querySelectorAll("main *")].map((each) => each.localName))],
        surface: getComputedStyle(document.body).backgroundColor});
});
</script>"""
# Added before TELL: the event that a browser sends before it prints.
PRINT = '<script>window.addEventListener("load", () => window.dispatchEvent(new Event("beforeprint")));</script>'


@dataclass
class Seen:
    told: dict[str, Any]  # what TELL collects
    screen: Any  # rows of pixels, each red, green and blue from 0 to 255

    @property
    def text(self) -> str:
        return str(self.told["text"])

    def chart(self, title: str, number: int = 0) -> dict[str, Any]:
        """The chart of that title; with several of them, the one with that number, from 0."""
        found: list[dict[str, Any]] = [chart for chart in self.told["charts"] if chart["title"] == title]
        return found[number]

    def pixels(self, chart: dict[str, Any], color: str) -> int:
        """How many pixels within the chart's axes have that colour ("#rrggbb")."""
        left, top, width, height = (round(SCALE * value) for value in chart["box"])
        assert top + height <= len(self.screen), "the report is higher than the screenshot"
        area = self.screen[top:top + height, left:left + width]
        wanted = np.array([int(color[i:i + 2], 16) for i in (1, 3, 5)])
        return int(np.count_nonzero(np.abs(area - wanted).max(axis=2) <= 6))


def open_report(report: Path, dark: bool = False, printing: bool = False, height: int = 3000) -> Seen:
    """`height` is the window's in CSS pixels, at least the report's. Leaves what it opened and saw beside the report."""
    copy, picture = report.with_suffix(".probed.html"), report.with_suffix(".png")
    begin, end = report.read_text().split("<title>", 1)
    body, rest = end.rsplit("</body>", 1)
    copy.write_text(f"{begin}{LISTEN}<title>{body}{PRINT if printing else ''}{TELL}</body>{rest}")
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={home}",
             "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--no-first-run",
             f"--window-size={WIDTH},{height}", f"--force-device-scale-factor={SCALE}", "--virtual-time-budget=10000",
             f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom", f"--screenshot={picture}", copy.as_uri()],
            capture_output=True, text=True, timeout=TIMEOUT, env=os.environ | {"HOME": home}, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r'data-told="([^"]*)"', done.stdout)
    assert found, f"the load event's listeners did not complete: {done.stderr}"
    return Seen(json.loads(html.unescape(found[1])), np.rint(255 * image.imread(picture)[:, :, :3]).astype(int))
