"""No text is drawn as a row of boxes, whatever fonts this machine has."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import ImageFont

from d2m.draw.plots import genre_energy_bars, save
from d2m.draw.render import frame_at
from d2m.draw.text import default_font, drawable, plain

NAMES = {
    "Chinese": "日本語の曲", "Korean": "한국 노래", "emoji": "dance 🎵💃🏽", "Devanagari": "गीत", "flag": "🇧🇷 samba",
    "family": "👨‍👩‍👧", "Thai": "เพลง", "unassigned": "\u0378 a", "private": "\ue123 b", "bytes": "a\udcff.wav",
}  # fmt: skip


def covered(text: str, font: str) -> bool:
    """Whether no character of a text is drawn as the font's box for missing ones."""
    loaded = ImageFont.truetype(font, 24)
    missing = bytes(loaded.getmask("\U000f1234"))
    return all(c.isspace() or bytes(loaded.getmask(c)) != missing for c in text)


def font_of(path: Path, characters: str) -> str:
    """A font that draws some characters, as triangles."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    pen.lineTo((500, 900))
    pen.lineTo((900, 0))
    pen.closePath()
    names = [".notdef", *(f"u{ord(c):x}" for c in characters)]
    build = FontBuilder(1000, isTTF=True)
    build.setupGlyphOrder(names)
    build.setupCharacterMap({ord(c): f"u{ord(c):x}" for c in characters})
    build.setupGlyf({name: TTGlyphPen(None).glyph() if name == ".notdef" else pen.glyph() for name in names})
    build.setupHorizontalMetrics({name: (1000, 0) for name in names})
    build.setupHorizontalHeader(ascent=900, descent=-100)
    build.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    build.setupOS2()
    build.setupPost()
    build.save(path)
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_what_no_font_has_is_transliterated(name: str) -> None:
    text, font = drawable(NAMES[name], fonts=())
    assert font == default_font() and text.strip() and covered(text, font)
    assert covered(plain(NAMES[name]), font)


def test_texts_that_the_default_font_has_stay() -> None:
    for text in ("Música & R&B", "Музыка ночи", "Γλυκό", "drum'n'bass", "موسيقى", "original (waltz), x1 …"):
        assert drawable(text, fonts=()) == (text, default_font()) and plain(text) == text
    assert drawable(" two\nlines\t", fonts=())[0] == "two lines" and plain("ü\n曲") == "ü\nQu"
    assert drawable(unicodedata.normalize("NFD", "Música"), fonts=())[0] == "Música"


def test_transliterations() -> None:
    assert drawable("日本語の曲", fonts=())[0] == "RiBenYunoQu"
    assert drawable("🎵 song", fonts=())[0] == ":musical_note: song"


def test_the_font_with_most_of_the_text_draws_it(tmp_path: Path) -> None:
    some = font_of(tmp_path / "some.ttf", "日abc")
    all_but_one = font_of(tmp_path / "more.ttf", "日本語のxyz")
    (broken := tmp_path / "broken.ttf").write_bytes(b"no font")
    fonts = (some, str(broken), all_but_one, str(tmp_path / "missing.ttf"))
    assert drawable("日本語の曲", fonts) == ("日本語のQu", all_but_one)
    assert drawable("日", fonts) == ("日", some)


def test_a_caption_is_the_picture_of_its_transliteration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m.draw.text._system_fonts", lambda: ())
    poses = np.random.default_rng(0).normal(size=(3, 14, 2)) * 50
    written, spelled = (
        frame_at([poses], 0, [text], size=(256, 256)) for text in ("日本語の曲 🎵", "RiBenYunoQu :musical_note:")
    )
    assert np.array_equal(written, spelled)
    assert not np.array_equal(written, frame_at([poses], 0, [""], size=(256, 256)))


def test_labels_of_figures_are_drawable_and_dollars_are_dollars(tmp_path: Path) -> None:
    files = []
    for genre in ("舞曲", "WuQu", "a$b$c", "a$\\bad{$"):
        save(genre_energy_bars({"real": {genre: 1.0, "waltz": 2.0}}), path := tmp_path / f"{len(files)}.png", dpi=40)
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]
