"""A self-contained HTML page of text, tables, figures and videos; styles and pictures are embedded."""

from __future__ import annotations

import base64
import html
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.draw.video import poster

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Videos up to this many bytes go into the page when it embeds videos; larger ones are linked.
EMBED_BYTES = 4_000_000


@dataclass(frozen=True)
class Section:
    """A heading and its contents, shown in this order.

    Args:
        heading: plain text.
        text: plain-text paragraphs, separated by blank lines.
        code: commands or output, shown verbatim.
        table: rows; the columns are the keys, in order of appearance. Numbers are shown to four digits.
        table_caption: describes the table, with units.
        figures: (PNG file or matplotlib Figure, caption).
        videos: (mp4 file, caption); each shows its middle frame until it is played.
    """

    heading: str
    text: str = ""
    code: str = ""
    table: Sequence[Mapping[str, Any]] = ()
    table_caption: str = ""
    figures: Sequence[tuple[str | os.PathLike[str] | Figure, str]] = ()
    videos: Sequence[tuple[str | os.PathLike[str], str]] = ()


_STYLE = """
:root { color-scheme: light dark;
  --ink: #1d232b; --soft: #5b6675; --line: #dfe3e8; --back: #fbfbf9; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e7ee; --soft: #9aa5b5; --line: #303846; --back: #14181f; --card: #1b212b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.2rem 4rem; max-width: 62rem;
  background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0; }
nav a { color: inherit; margin-right: 1rem; } nav { color: var(--soft); font-size: .9rem; }
pre { overflow-x: auto; padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; font-size: .85rem; }
.wide { overflow-x: auto; } .dense { font-size: .78rem; } .dense th, .dense td { padding: .3rem .45rem; }
table { border-collapse: collapse; font-size: .92rem; margin: .8rem 0; }
caption { caption-side: bottom; text-align: left; color: var(--soft); font-size: .85rem; padding-top: .4rem; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: left; }
th { font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; } figcaption { color: var(--soft); font-size: .88rem; margin-top: .3rem; }
img, video { display: block; max-width: 100%; height: auto;
  border-radius: 6px; border: 1px solid var(--line); }
img { background: #fff; } video { background: #11141b; }
.videos { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
.videos figure { margin: 0; max-width: 46rem; } .videos video { width: 100%; }
"""


def write_page(
    path: str | os.PathLike[str],
    title: str,
    sections: Sequence[Section],
    *,
    embed_videos: bool = False,
    embed_bytes: int = EMBED_BYTES,
) -> Path:
    """Write the page atomically.

    Args:
        path: the .html file.
        embed_videos: put videos of at most ``embed_bytes`` into the page; the others, and by default all, are
            links relative to the page, so that the page moves together with its folder.

    Returns:
        ``path``.

    Raises:
        D2MError: a figure or video that cannot be read, or a page that cannot be written.
    """
    folder = Path(path).absolute().parent
    limit = embed_bytes if embed_videos else -1
    body = [f"<h1>{html.escape(title)}</h1>"]
    if len(sections) > 3:
        links = (f'<a href="#s{k}">{html.escape(s.heading)}</a>' for k, s in enumerate(sections))
        body.append(f"<nav>{' '.join(links)}</nav>")
    for k, section in enumerate(sections):
        body += [f'<section id="s{k}">', *_section(section, folder, limit), "</section>"]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
    with atomic_path(path) as temp:
        temp.write_text(page, encoding="utf-8")
    return Path(path)


def _section(section: Section, folder: Path, embed_bytes: int) -> list[str]:
    out = [f"<h2>{html.escape(section.heading)}</h2>"]
    for paragraph in section.text.split("\n\n"):
        if paragraph.strip():
            out.append(f"<p>{html.escape(paragraph.strip())}</p>")
    if section.code:
        out.append(f"<pre><code>{html.escape(section.code.strip())}</code></pre>")
    if section.table:
        out.append(_table(section.table, section.table_caption))
    for source, caption in section.figures:
        image = f'<img src="{_data("image/png", _png(source))}" alt="{html.escape(caption)}">'
        out.append(f"<figure>{image}{_figcaption(caption)}</figure>")
    if section.videos:
        out.append('<div class="videos">')
        for video, caption in section.videos:
            src = html.escape(_video_url(Path(video), folder, embed_bytes))
            still = _data("image/jpeg", poster(video))
            tag = f'<video controls loop playsinline preload="metadata" poster="{still}" src="{src}"></video>'
            out.append(f"<figure>{tag}{_figcaption(caption)}</figure>")
        out.append("</div>")
    return out


def _figcaption(caption: str) -> str:
    return f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""


def _table(rows: Sequence[Mapping[str, Any]], caption: str) -> str:
    """Columns of numbers are right-aligned; a missing or NaN cell is a dash."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    numeric = {c: all(_is_number(row[c]) for row in rows if row.get(c) is not None) for c in columns}
    mark = {c: ' class="n"' if numeric[c] else "" for c in columns}
    head = "".join(f"<th{mark[c]}>{html.escape(str(c))}</th>" for c in columns)
    lines = [
        "<tr>" + "".join(f"<td{mark[c]}>{html.escape(_cell(row.get(c)))}</td>" for c in columns) + "</tr>"
        for row in rows
    ]
    note = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    dense = ' class="dense"' if len(columns) > 8 else ""
    table = f"<table{dense}>{note}<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _is_number(value: Any) -> bool:
    return not isinstance(value, (bool, str)) and hasattr(value, "__float__")


def _cell(value: Any) -> str:
    """Integers in full, other numbers to four digits (rounding errors around 0 as 0), a dash for None and NaN."""
    if value is None:
        return "–"
    if not _is_number(value):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return "–"
    if abs(number) < 1e-12:
        return "0"
    if math.isfinite(number) and (number.is_integer() or abs(number) >= 10_000) and abs(number) < 1e15:
        return f"{round(number):,}"
    return f"{number:.4g}"


def _png(source: str | os.PathLike[str] | Figure) -> bytes:
    if isinstance(source, (str, os.PathLike)):
        data = _read(Path(source))
        if not data.startswith(b"\x89PNG"):
            raise D2MError(f"{source}: not a PNG image; give a .png file or a matplotlib Figure")
        return data
    buffer = io.BytesIO()
    source.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def _video_url(video: Path, folder: Path, embed_bytes: int) -> str:
    try:
        size = video.stat().st_size if video.is_file() else -1
    except OSError:
        size = -1
    if size < 0:
        raise D2MError(f"{video}: no such video; write it before the page")
    if size <= embed_bytes:
        return _data("video/mp4", _read(video))
    return quote(Path(os.path.relpath(video.absolute(), folder)).as_posix())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise D2MError(f"{path}: cannot be read ({e.strerror}); write it before the page") from e


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
