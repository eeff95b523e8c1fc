"""The newcomers' documents name what exists: packages, entry points, decisions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPO = Path(__file__).parents[2]
SOURCE = REPO / "src" / "d2m"
ROOMS = sorted(p.name for p in SOURCE.iterdir() if (p / "__init__.py").is_file())


def section(document: str, heading: str) -> str:
    """The text below a heading of the same document, up to the next one of its level."""
    text = (REPO / document).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no section '{heading}'"
    return found.group(1)


def test_the_documented_layout_matches_the_tree() -> None:
    listed = re.findall(r"^ {6}(\w+)/ ", section("CONTRIBUTING.md", "Layout"), re.MULTILINE)
    assert sorted(listed) == ROOMS


def test_every_room_says_what_it_is_for() -> None:
    for room in ROOMS:
        text = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text(encoding="utf-8")))
        assert text and text.split("\n")[0].endswith("."), f"{room}/__init__.py opens without a sentence"


def test_the_top_of_the_package_holds_rooms_and_nothing_else() -> None:
    files = {p.name for p in SOURCE.iterdir() if p.is_file()}
    assert files == {"__init__.py", "__main__.py"}


def test_every_place_in_the_table_of_doors_exists() -> None:
    places = re.findall(r"`((?:src|conf|tests|experiments)/[^`\s]+)`", section("CONTRIBUTING.md", "How to add"))
    assert len(places) >= 8
    for place in places:
        pattern = re.sub(r"[A-Z]{2,}", "*", place)  # NAME stands for what is added
        assert list(REPO.glob(pattern)), f"CONTRIBUTING names {place}, which is not there"


def test_the_index_of_decisions_lists_every_page() -> None:
    pages = sorted(p.name for p in (REPO / "docs" / "adr").glob("0*.md"))
    listed = re.findall(r"\((0\d{3}-[\w-]+\.md)\)", (REPO / "docs" / "adr" / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == pages
