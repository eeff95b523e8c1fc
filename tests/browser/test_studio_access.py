"""The studio's page for everybody: names, contrast, focus, a phone, light and dark; and by the rules of axe-core."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio_page import DESK, IDLE, PHONE, Page

#: Every control has a name, ids are unique, text has a contrast of 4.5 to what is behind it (WCAG 2 AA).
FAULTS = """
const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const rgb = (s) => (s.match(/[\\d.]+/g) || []).map(Number);
const behind = (e) => { for (let n = e; n; n = n.parentElement) { const c = rgb(getComputedStyle(n).backgroundColor); if (c.length === 3 || c[3] > 0.99) return c.slice(0, 3); } return [255, 255, 255]; };
const faults = [];
const seen = (e) => e.getClientRects().length > 0;
for (const e of document.querySelectorAll('button, select, input, canvas, [role=slider], [role=tab], progress, output')) {
  const name = e.getAttribute('aria-label') || e.textContent.trim() || [...(e.labels || [])].map((l) => l.textContent.trim()).join('');
  if (seen(e) && !name && e.tagName !== 'PROGRESS') faults.push(`no name: ${e.outerHTML.slice(0, 80)}`);
}
const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
faults.push(...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `twice: ${id}`));
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !seen(e) || e.disabled || e.tagName === 'OPTION' || e.closest(':disabled')) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) faults.push(`contrast ${((a + 0.05) / (b + 0.05)).toFixed(2)}: ${e.outerHTML.slice(0, 80)}`);
}
return faults;
"""  # noqa: E501


def test_it_is_usable_on_a_phone_and_by_everybody_in_light_and_dark(page: Page) -> None:
    page.slide(0, 1.0)
    page.until(IDLE)
    for size in (DESK, PHONE):
        page.size(size)
        for _ in ("one theme", "the other"):
            page.js("theme.click()")
            for tab in range(5):
                page.js("document.querySelectorAll('[role=tab]')[arguments[0]].click()", tab)
                assert page.js(FAULTS) == []
        assert page.js("return document.documentElement.scrollWidth <= innerWidth + 1")
    page.js("document.getElementById('play').focus()")
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


#: What is fetched if npm is there; MPL-2.0, so that it is no part of this project.
AXE = "axe-core@4.14.1"


@pytest.fixture(scope="module")
def axe(pytestconfig: pytest.Config) -> str:
    """axe-core as a script: by npm, kept in pytest's cache, else of PyPI's axe-core-python."""
    folder = Path(pytestconfig.cache.mkdir("axe-core"))  # type: ignore[union-attr]
    script = folder / "package" / "axe.min.js"
    npm, tarball = shutil.which("npm"), folder / f"{AXE.replace('@', '-')}.tgz"
    if npm and not script.is_file():
        command = [npm, "pack", AXE, "--silent", "--pack-destination", str(folder)]
        try:
            subprocess.run(command, capture_output=True, timeout=60, check=True)
            with tarfile.open(tarball) as packed:
                packed.extract("package/axe.min.js", folder, filter="data")
        except (OSError, subprocess.SubprocessError, tarfile.TarError, KeyError):
            pass  # no network
    if not script.is_file() and (spec := find_spec("axe_core_python")) and spec.origin:
        script = Path(spec.origin).with_name("axe.min.js")
    if not script.is_file():
        pytest.skip("axe-core cannot be had: neither npm with a network nor pip install axe-core-python")
    return script.read_text(encoding="utf-8")


RULES = """
const done = arguments[0];
axe.run(document, {resultTypes: ['violations']}).then((found) => done(found.violations
  .filter((v) => ['serious', 'critical'].includes(v.impact))
  .map((v) => `${v.impact} ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 100)).join(' | ')}`)));
"""


def test_axe_finds_nothing_serious(page: Page, axe: str) -> None:
    page.slide(0, 1.0)
    page.until(IDLE)
    page.js("document.querySelector('#edit .slider button').click()")
    page.js("document.querySelector('#others-list input').click()")
    page.until(IDLE)
    page.js(axe)
    found: dict[str, Any] = {}
    for size in (DESK, PHONE):
        page.size(size)
        for theme in ("one theme", "the other"):
            page.js("theme.click()")
            for panel in ("edit", "numbers", "map", "runs", "saving"):
                page.tab(panel)
                if panel == "map":
                    page.until("document.getElementById('map-told').textContent.includes('songs')")
                if panel == "runs":
                    page.until("document.getElementById('evaluated')")
                found[f"{size['width']} {theme} {panel}"] = page.driver.execute_async_script(RULES)
    page.js("document.getElementById('help').click()")
    found["keys"] = page.driver.execute_async_script(RULES)
    assert {where: faults for where, faults in found.items() if faults} == {}


def test_an_exported_page_is_for_everybody(page: Page, at: Any, axe: str, tmp_path: Path) -> None:
    from d2m.studio.export import export_page

    page.driver.get(export_page(at, tmp_path / "page").as_uri())
    page.until("document.querySelectorAll('figure canvas').length")
    for _ in ("one theme", "the other"):
        page.js("theme.click()")
        assert page.js(FAULTS) == []
        page.js(axe)
        assert page.driver.execute_async_script(RULES) == []
