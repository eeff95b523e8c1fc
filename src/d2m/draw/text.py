"""Text in pictures, without boxes for missing characters.

DejaVu Sans, which comes with matplotlib, draws Latin, Greek, Cyrillic, Arabic and more. For other characters, the
system font that covers most of the text is used; characters that no font has are transliterated
(docs/adr/0061-fonts-of-captions.md).
"""

from __future__ import annotations

import os
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

#: Tables of bitmap fonts, which cannot be scaled.
_PICTURES = {"CBDT", "sbix", "EBDT"}
# Scripts written right to left, or with context-dependent letters.
_JOINING = ("R", "AL", "NSM")


def default_font() -> str:
    """The file of the font that is always available."""
    from matplotlib import get_data_path

    return os.path.join(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def drawable(text: str, fonts: tuple[str, ...] | None = None) -> tuple[str, str]:
    """A text in which every character can be drawn, in one line, and the file of the font that draws it.

    Args:
        fonts: files of fonts to look in if the default lacks a character; by default the system's.
    """
    text = " ".join(_visible(text).split())
    usual = default_font()
    if text.isascii() or (_shaped(text) and _covered(text, usual) == len(text)):
        return text, usual
    wanted = [c for c in text if not c.isspace()]
    others = _system_fonts() if fonts is None else fonts
    best = max([usual, *others], key=lambda font: _covered("".join(wanted), font))
    return _fitted(text, best), best


def plain(text: str) -> str:
    """The text with every character available in the default font; line breaks are kept."""
    return text if text.isascii() else "\n".join(_fitted(_visible(line), default_font()) for line in text.split("\n"))


def _visible(text: str) -> str:
    """Without invisible characters: control characters, joiners, variation selectors, undecodable bytes."""
    text = "".join(c if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "" for c in text)
    return unicodedata.normalize("NFC", "".join(c for c in text if not 0xFE00 <= ord(c) <= 0xFE0F))


def _shaped(text: str) -> bool:
    """Whether Pillow can lay out a text: scripts with joining letters or right-to-left direction need two libraries."""
    from PIL import features

    if not any(unicodedata.bidirectional(c) in _JOINING for c in text):
        return True
    return bool(features.check("raqm") and features.check("fribidi"))


def _fitted(text: str, font: str) -> str:
    from anyascii import anyascii

    known, shaped = _characters(font), _shaped(text)
    return "".join(
        c if c.isascii() or (ord(c) in known and (shaped or _shaped(c))) else anyascii(c) or "?" for c in text
    )


def _covered(text: str, font: str) -> int:
    known = _characters(font)
    return sum(ord(c) in known for c in text)


@cache
def _characters(font: str) -> frozenset[int]:
    """The characters for which a font has outlines; empty for unreadable and bitmap fonts."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with TTFont(font, fontNumber=0, lazy=True) as file:
            return frozenset() if _PICTURES & set(file.keys()) else frozenset(file.getBestCmap() or ())
    except (TTLibError, OSError, ValueError, KeyError, AssertionError):
        return frozenset()


@cache
def _system_fonts() -> tuple[str, ...]:
    """The system's fonts, upright and regular ones first, then by name, so that all runs agree."""
    from matplotlib.font_manager import findSystemFonts

    def rank(font: str) -> tuple[bool, str, str]:
        name = os.path.basename(font)
        return any(w in name.lower() for w in ("bold", "italic", "oblique", "mono", "black", "thin")), name, font

    return tuple(sorted(findSystemFonts(), key=rank))


@cache
def canvas() -> type[FigureCanvasAgg]:
    """matplotlib's canvas, on which every text is :func:`plain` and a dollar is a dollar."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg

    class Renderer(RendererAgg):
        def draw_text(self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, *_: Any, **__: Any) -> None:
            super().draw_text(gc, x, y, plain(s), prop, angle, ismath=False)  # type: ignore[arg-type]

        def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
            return super().get_text_width_height_descent(plain(s), prop, ismath=False)

    class Canvas(FigureCanvasAgg):
        def get_renderer(self) -> RendererAgg:
            renderer = Renderer(*self.figure.bbox.size, self.figure.dpi)
            self.renderer = renderer
            return renderer

    return Canvas
