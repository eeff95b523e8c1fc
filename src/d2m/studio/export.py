"""Exports the studio's dance as a page that works from disk: two files, no network access, no server."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from d2m.core.errors import D2MError
from d2m.core.files import appear_together, check_out, finite
from d2m.core.skeleton import SAMPLE_RATE
from d2m.studio.library import Library
from d2m.studio.session import Session
from d2m.studio.shown import describe
from d2m.studio.state import FORMAT, State

PAGE = Path(__file__).parent / "page"
#: The page's JavaScript modules; the last one is the entry point.
MODULES = ("dom", "names", "timeline", "numbers", "player", "stage", "exported")
SOUND = "song.flac"

_IMPORT = re.compile(r"from '\./(\w+)\.js'")


def _module(name: str) -> str:
    """A module's source with imports by bare name, because an exported page has no folder to import from."""
    return _IMPORT.sub(r"from '\1'", (PAGE / f"{name}.js").read_text(encoding="utf-8"))


def _inside(text: str) -> str:
    """Escape JSON so that no ``</script>`` in it can end the element."""
    return text.replace("<", "\\u003c")


def page_of(header: dict[str, Any]) -> str:
    """The page's HTML, with a dance in the form that ``exported.js`` reads."""
    coded = {n: base64.b64encode(_module(n).encode()).decode() for n in MODULES[:-1]}
    imports = {n: f"data:text/javascript;base64,{data}" for n, data in coded.items()}
    page = (PAGE / "exported.html").read_text(encoding="utf-8")
    style = (PAGE / "style.css").read_text(encoding="utf-8")
    parts = {
        '<link rel="stylesheet" href="style.css">': f"<style>\n{style}</style>\n  "
        f'<script type="importmap">{_inside(json.dumps({"imports": imports}))}</script>',
        '<script type="module" src="exported.js"></script>': '<script type="application/json" id="dance">'
        f'{_inside(json.dumps(finite(header)))}</script>\n<script type="module">\n{_module(MODULES[-1])}</script>',
    }
    for old, new in parts.items():
        page = page.replace(old, new)
    return page


def export_page(library: Library, out: Path, device: str = "cpu") -> Path:
    """Write OUT/index.html and the song, for the studio's last state, else for the first song.

    Returns:
        Path of the page.

    Raises:
        D2MError: there is no song, or it cannot be danced to or written.
    """
    import soundfile

    plain = library.last_state()
    if plain is None:
        songs = library.songs()
        if not songs:
            raise D2MError("no songs to dance to: give music=FOLDER or state=FILE")
        plain = {"format": FORMAT, "bundle": library.bundles[0], "song": songs[0]}
    state = State.parse(plain)
    shown = Session(state.bundle, device).show(state)
    header, arrays = describe(shown)
    names = {**state.plain(), "bundle": Path(state.bundle).name, "song": Path(state.song).name}
    data = {k: base64.b64encode(a.astype("u1" if a.dtype == np.uint8 else "<f4").tobytes()) for k, a in arrays.items()}
    header |= {
        "state": names, "sound": SOUND, "title": Path(state.song).stem, "data": {k: v.decode() for k, v in data.items()}
    }  # fmt: skip
    check_out(out)
    with appear_together(out) as part:
        wave = shown.original.dance.song.wave
        soundfile.write(part / SOUND, np.clip(wave, -1, 1), SAMPLE_RATE, subtype="PCM_16")
        (part / "index.html").write_text(page_of(header), encoding="utf-8")
    return out / "index.html"
