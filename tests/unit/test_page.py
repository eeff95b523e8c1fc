"""The page is self-contained: no external URLs, every figure inlined, text escaped."""

from __future__ import annotations

import base64
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import numpy as np
import pytest

from d2m.core.errors import D2MError
from d2m.draw.plots import latent_scatter, save
from d2m.draw.video import write_video
from d2m.reports.page import Section, write_page

NASTY = '<script>alert("1")</script> & "quotes" \'ü\''
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Tags with their attributes, visible text, and whether every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    save(latent_scatter(np.zeros((3, 2)), ["a", "b", "c"]), tmp_path / "run" / "figure.png", dpi=40)
    return tmp_path / "run" / "figure.png"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = [np.zeros((32, 32, 3), np.uint8)] * 3
    return write_video(tmp_path / "run" / "videos" / "a dance [1] & 50% #2.mp4", frames)


def written(path: Path, sections: list[Section], title: str = "T", **kwargs: object) -> Reader:
    assert write_page(path, title, sections, **kwargs) == path  # type: ignore[arg-type]
    return Reader(path.read_text(encoding="utf-8"))


def test_the_page_refers_to_nothing_elsewhere(tmp_path: Path, picture: Path, video: Path) -> None:
    figure = latent_scatter(np.ones((2, 2)), ["a", "b"])
    section = Section("H", "text", figures=[(picture, "file"), (figure, "drawn")], videos=[(video, "dance")])
    page = written(tmp_path / "run" / "page.html", [section] * 2)
    for _, attributes in page.tags:
        assert not attributes.keys() & {"srcset", "background", "action", "onload"}
        for key in ("src", "href"):
            value = attributes.get(key)
            assert value is None or not re.match(r"[a-z]+://|//|/|file:|\w+:(?<!data:)", value), value
    text = (tmp_path / "run" / "page.html").read_text()
    style = re.search(r"<style>(.*)</style>", text, re.S)
    assert style and "url(" not in style[1] and "@import" not in style[1]
    assert "http" not in re.sub('base64,[^"]*', "", text)
    assert not page.all("link") and not page.all("script")


def test_every_figure_is_inside(tmp_path: Path, picture: Path) -> None:
    figure = latent_scatter(np.ones((2, 2)), ["a", "b"])
    page = written(
        tmp_path / "page.html", [Section("H", figures=[(picture, "one"), (str(picture), ""), (figure, "x")])]
    )
    images = page.all("img")
    assert len(images) == 3 and [i["alt"] for i in images] == ["one", "", "x"]
    for image in images:
        kind, data = (image["src"] or "").split(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
    assert base64.b64decode((images[0]["src"] or "").split(",")[1]) == picture.read_bytes()


def test_videos_are_links_that_move_with_the_folder(tmp_path: Path, video: Path) -> None:
    page = written(tmp_path / "run" / "page.html", [Section("H", videos=[(video, "a")])])
    (tag,) = page.all("video")
    src = tag["src"] or ""
    assert not os.path.isabs(src) and " " not in src and "controls" in tag and "autoplay" not in tag
    (tmp_path / "run").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / unquote(src)).is_file()


def test_a_video_beside_or_above_the_page_is_found(
    tmp_path: Path, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "run")
    relative = video.relative_to(tmp_path / "run")
    page = written(Path("deep/er/page.html"), [Section("H", videos=[(relative, "")])])
    src = page.all("video")[0]["src"] or ""
    assert src.startswith("../../videos/") and (tmp_path / "run" / "deep" / "er" / unquote(src)).is_file()


def test_small_videos_go_inside_on_request(tmp_path: Path, video: Path) -> None:
    sections = [Section("H", videos=[(video, "a")])]
    inside = written(tmp_path / "a.html", sections, embed_videos=True).all("video")[0]["src"] or ""
    assert base64.b64decode(inside.removeprefix("data:video/mp4;base64,")) == video.read_bytes()
    linked = written(tmp_path / "b.html", sections, embed_videos=True, embed_bytes=10).all("video")[0]["src"] or ""
    assert not linked.startswith("data:")


def test_text_is_text(tmp_path: Path, picture: Path) -> None:
    section = Section(NASTY, NASTY, code=NASTY, table=[{NASTY: NASTY}], table_caption=NASTY, figures=[(picture, NASTY)])
    page = written(tmp_path / "page.html", [section] * 4, title=NASTY)
    assert not page.all("script") and page.text.count(NASTY) == 2 + 4 * 7 + 4  # title, sections, contents
    assert all(i["alt"] == NASTY for i in page.all("img"))


def test_paragraphs_headings_and_contents(tmp_path: Path) -> None:
    three = written(tmp_path / "a.html", [Section(f"h{k}", "one\n\ntwo\n\n\n") for k in range(3)])
    assert len(three.all("p")) == 6 and not three.all("nav")
    four = written(tmp_path / "b.html", [Section(f"h{k}") for k in range(4)])
    ids = {s["id"] for s in four.all("section")}
    assert {(a["href"] or "")[1:] for a in four.all("a")} == ids and len(ids) == 4
    assert "prefers-color-scheme" in (tmp_path / "b.html").read_text()


def test_tables_show_numbers_to_four_digits(tmp_path: Path) -> None:
    rows = [
        {"genre": "waltz", "energy": 1234.5678, "n": 3, "ok": True},
        {"genre": "tango", "energy": float("nan"), "n": 12_345_678, "p": np.float32(0.00012346)},
        {"genre": None, "energy": float("inf"), "n": 2.0},
    ]
    page = written(tmp_path / "page.html", [Section("H", table=rows, table_caption="px²/s²")])
    cells = re.findall(r"<t[dh](?: class=.n.)?>([^<]*)", (tmp_path / "page.html").read_text())
    assert cells[:5] == ["genre", "energy", "n", "ok", "p"]
    assert cells[5:10] == ["waltz", "1235", "3", "True", "–"]
    assert cells[10:15] == ["tango", "–", "12,345,678", "–", "0.0001235"]
    assert cells[15:] == ["–", "inf", "2", "–", "–"]
    numeric = [a.get("class") == "n" for a in page.all("th")]
    assert numeric == [False, True, True, False, True]


def test_what_cannot_be_shown_is_refused_and_leaves_no_page(tmp_path: Path, video: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    bad = [
        Section("H", figures=[(tmp_path / "missing.png", "")]),
        Section("H", figures=[(tmp_path / "text.png", "")]),
        Section("H", figures=[(tmp_path, "")]),
        Section("H", videos=[(tmp_path / "missing.mp4", "")]),
        Section("H", videos=[(tmp_path, "")]),
    ]
    for section in bad:
        with pytest.raises(D2MError) as e:
            write_page(tmp_path / "page.html", "T", [section])
        assert "\n" not in str(e.value) and str(tmp_path) in str(e.value)
    with pytest.raises(D2MError, match=r"page\.html"):
        write_page(tmp_path / "text.png" / "page.html", "T", [])
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_does_not_fit_on_the_disk_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "page.html", [Section("old")])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(D2MError, match=r"page\.html: cannot write \(No space left on device\)"):
        write_page(tmp_path / "page.html", "T", [Section("new")])
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert "old" in (tmp_path / "page.html").read_text()


def test_every_video_shows_a_frame_before_it_is_played(tmp_path: Path) -> None:
    frames = [np.full((32, 48, 3), k * 20, np.uint8) for k in range(10)]
    write_video(tmp_path / "a.mp4", frames)
    page = write_page(tmp_path / "index.html", "t", [Section("s", videos=[(tmp_path / "a.mp4", "a")])])
    (tag,) = Reader(page.read_text()).all("video")
    kind, _, data = str(tag["poster"]).partition(";base64,")
    still = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert kind == "data:image/jpeg" and still.shape == (360, 540, 3)
    assert 60 < still.mean() < 140  # of the middle, not the black beginning
