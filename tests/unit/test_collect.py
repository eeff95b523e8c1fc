"""Collecting songs: what is fetched, how often, what is cut from it, and what is reported about the rest."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from d2m.core.errors import D2MError
from d2m.data.manifest import read_manifest
from d2m.prepare.collect import collect, music_spans
from d2m.prepare.fetch import Fetcher
from d2m.prepare.songlist import parse_spans, read_rows
from tests.commands import d2m

RATE = 16000
QUICK = {"wait_s": 0.0, "pause_s": 0.0}


def song(parts: list[tuple[float, float]]) -> np.ndarray:
    """(seconds, level) after each other: a tone."""
    blocks = [level * np.sin(2 * np.pi * 440 * np.arange(round(s * RATE)) / RATE) for s, level in parts]
    return np.concatenate(blocks).astype(np.float32)


class Server(ThreadingHTTPServer):
    """Serves bytes on loopback, counts requests, breaks connections and answers badly on demand."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.bad: dict[str, list[int]] = {}
        self.cut: dict[str, int] = {}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.requests[name] += 1
        if self.server.bad.get(name):
            self.send_error(self.server.bad[name].pop(0))
            return
        if name not in self.server.files:
            self.send_error(404)
            return
        data, first = self.server.files[name], 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and asked != "bytes=0-":
            self.server.ranges.append(asked)
            first = int(asked[6:].split("-")[0])
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", "audio/wav" if name.endswith(".wav") else "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        # The first request of a file reads its kind; the second fetches it, and is the one to break off.
        if self.server.requests[name] >= 2 and self.server.cut.get(name):
            self.wfile.write(data[first : self.server.cut.pop(name)])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(data[first:])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("yt_dlp", reason="yt-dlp is not installed (the extra collect)")
    server = Server()
    sf.write(tmp_path / "s.wav", song([(1, 0), (6, 0.3), (3, 0), (5, 0.3)]), RATE)
    server.files["other.wav"] = server.files["song.wav"] = (tmp_path / "s.wav").read_bytes()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def lines(out: Path) -> list[dict[str, str]]:
    with open(out / "raw/manifest.csv", newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


# --- fetching ------------------------------------------------------------------------------------------------


def test_a_song_is_fetched_once_and_cut(server: Server, tmp_path: Path) -> None:
    rows = table(
        tmp_path / "in.csv", f"url,genre,title,licence,not_music\n{server.url('song.wav')},zumba,Río,CC0,2-4\n"
    )
    out = tmp_path / "out"
    kept, failed = collect(rows, out, **QUICK)
    assert not failed and [k["name"] for k in kept] == ["rio_01", "rio_02"]
    asked = server.requests.total()
    # 1-7 s and 10-15 s are loud, 2-4 is marked: 1-2 is too short, 4-7 and 10-15 stay.
    for k, seconds in zip(kept, (3.0, 5.0), strict=True):
        info = sf.info(out / "raw" / k["audio"])
        assert (info.samplerate, info.subtype) == (RATE, "PCM_16")
        assert info.duration == pytest.approx(seconds, abs=0.051)
    assert lines(out) == kept and {k["licence"] for k in kept} == {"CC0"} and {k["group"] for k in kept} == {"rio"}
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.suffix == ".wav"}
    assert collect(rows, out, **QUICK) == (kept, [])
    # Another cut of the same song: nothing is asked for again either.
    table(rows, rows.read_text(encoding="utf-8").replace("2-4", ""))
    assert [k["name"] for k in collect(rows, out, **QUICK)[0]] == ["rio_01", "rio_02"]
    assert server.requests.total() == asked <= 2
    assert set(before) == {p for p in out.rglob("*.wav")}


def test_a_lost_wav_is_cut_again_without_a_request(server: Server, tmp_path: Path) -> None:
    rows = table(tmp_path / "in.csv", f"url,genre,end\n{server.url('song.wav')},x,7\n")
    kept, _ = collect(rows, tmp_path / "out", **QUICK)
    wav = tmp_path / "out/raw" / kept[0]["audio"]
    content, asked = wav.read_bytes(), server.requests.total()
    wav.unlink()
    collect(rows, tmp_path / "out", **QUICK)
    assert wav.read_bytes() == content and server.requests.total() == asked


def test_a_broken_download_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    half = len(server.files["song.wav"]) // 2
    server.cut["song.wav"] = half
    waits: list[float] = []
    fetcher = Fetcher(tmp_path / "d", wait_s=3.0, pause_s=0.0, sleep=waits.append)
    path = fetcher.get(server.url("song.wav"))
    assert path.read_bytes() == server.files["song.wav"]
    assert len(server.ranges) == 1 and 0 < int(server.ranges[0][6:].split("-")[0]) <= half
    assert [p.name for p in (tmp_path / "d").iterdir()] == [path.name]
    assert waits[0] == 3.0


def test_a_later_run_goes_on_where_the_first_one_died(server: Server, tmp_path: Path) -> None:
    server.cut["song.wav"] = 200_000
    rows = table(tmp_path / "in.csv", f"url,genre\n{server.url('song.wav')},x\n")
    kept, failed = collect(rows, tmp_path / "out", retries=0, **QUICK)
    assert not kept and len(failed) == 1 and "download failed" in failed[0]
    assert not list((tmp_path / "out").rglob("*.csv")) and not server.ranges
    kept, failed = collect(rows, tmp_path / "out", retries=0, **QUICK)
    assert len(kept) == 2 and not failed
    assert len(server.ranges) == 1 and 0 < int(server.ranges[0][6:].split("-")[0]) <= 200_000


def test_passing_answers_are_tried_again_with_back_off(server: Server, tmp_path: Path) -> None:
    server.bad["song.wav"] = [503, 429]
    waits: list[float] = []
    Fetcher(tmp_path, wait_s=1.5, pause_s=0.0, sleep=waits.append).get(server.url("song.wav"))
    assert waits == [1.5, 3.0]


def test_final_answers_are_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.bad["song.wav"] = [403] * 9
    for name in ("song.wav", "none.wav"):
        with pytest.raises(D2MError, match="download failed") as e:
            Fetcher(tmp_path, pause_s=0.0, sleep=lambda _: pytest.fail("waited")).get(server.url(name))
        assert "\n" not in str(e.value)
    assert server.requests["none.wav"] <= 2 and server.requests["song.wav"] <= 2


def test_tries_end(server: Server, tmp_path: Path) -> None:
    server.bad["song.wav"] = [500] * 99
    waits: list[float] = []
    with pytest.raises(D2MError, match="500"):
        Fetcher(tmp_path, retries=2, wait_s=1.0, pause_s=0.0, sleep=waits.append).get(server.url("song.wav"))
    assert waits == [1.0, 2.0]


def test_two_downloads_keep_their_distance(server: Server, tmp_path: Path) -> None:
    waits: list[float] = []
    fetcher = Fetcher(tmp_path, pause_s=60.0, sleep=waits.append)
    fetcher.get(server.url("song.wav"))
    assert not waits
    fetcher.get(server.url("other.wav"))
    assert len(waits) == 1 and 0 < waits[0] <= 60


def test_only_http_is_fetched(tmp_path: Path) -> None:
    for url in ("file:///etc/hosts", "ftp://127.0.0.1/x", "song.wav"):
        with pytest.raises(D2MError, match="not an http"):
            Fetcher(tmp_path).get(url)


def test_without_yt_dlp_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(D2MError, match=r"d2m\[collect\]"):
        Fetcher(tmp_path).get("http://127.0.0.1:1/x.wav")


# --- cutting -------------------------------------------------------------------------------------------------


def test_failed_rows_are_one_line_each_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(tmp_path / "good.wav", song([(4, 0.3)]), RATE)
    sf.write(tmp_path / "silent.wav", song([(4, 0)]), RATE)
    (tmp_path / "text.mp3").write_text("no sound " * 99)
    rows = table(
        tmp_path / "in.csv",
        "path,genre,start,name\ngood.wav,a,,good\nsilent.wav,a,,\ntext.mp3,a,,\nnone.wav,a,,\ngood.wav,a,99,late\n",
    )
    kept, failed = collect(rows, tmp_path / "out")
    told = capsys.readouterr().err.splitlines()
    assert len(kept) == 1 and len(failed) == len(told) == 4
    for part, line in zip(("no music", "text.mp3", "none.wav", "nothing lies between"), told, strict=True):
        assert line.startswith("failed: ") and part in line
    sf.write(tmp_path / "none.wav", song([(4, 0.3)]), RATE)
    assert len(collect(rows, tmp_path / "out")[0]) == 2


def test_poses_keep_the_clock_and_prepare_can_read_it(tmp_path: Path) -> None:
    sf.write(tmp_path / "s.wav", song([(1, 0), (6, 0.3), (3, 0), (5, 0.3)]), RATE)
    np.savez(tmp_path / "s.npz", joints=np.zeros((225, 14, 2)), fps=15)
    rows = table(tmp_path / "in.csv", "path,genre,pose,title,licence\ns.wav,salsa,s.npz,A,CC BY\n")
    collect(rows, tmp_path / "out")
    first, second = read_manifest(tmp_path / "out/raw")
    assert first.pose.resolve() == second.pose.resolve() == (tmp_path / "s.npz").resolve()
    assert first.audio == second.audio and first.audio is not None
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (1.0, 7.0, 10.0, 15.0)
    assert sf.info(first.audio).duration == 15.0 and first.group == second.group and first.licence == "CC BY"


def test_the_picture_is_its_own_pose(tmp_path: Path) -> None:
    from d2m.draw.video import write_video

    pictures = [np.zeros((32, 32, 3), np.uint8)] * 60
    write_video(tmp_path / "d.mp4", pictures, 15, audio=song([(4, 0.3)]), sample_rate=RATE)
    rows = table(tmp_path / "in.csv", "path,genre\nd.mp4,salsa\n")
    collect(rows, tmp_path / "out", video=True)
    (recording,) = read_manifest(tmp_path / "out/raw")
    assert recording.pose.resolve() == (tmp_path / "d.mp4").resolve()
    assert recording.end_s == pytest.approx(4.0, abs=0.11)


def test_marked_and_silent_parts_go() -> None:
    loud = np.ones(400, bool)  # 20 s
    loud[:10] = loud[100:110] = loud[200:280] = False  # 0.5 s, a rest of 0.5 s, 4 s
    spans = music_spans(loud, (0.0, 20.0), ((17.0, 18.0),), 2.0, 1.0)
    assert spans == [(0.5, 10.0), (14.0, 17.0), (18.0, 20.0)]
    assert music_spans(loud, (0.0, 20.0), ((0.0, 12.0), (3.0, 16.0)), 2.0, 1.0) == [(16.0, 20.0)]
    assert music_spans(loud, (2.0, 3.0), (), 2.0, 2.0) == []
    assert music_spans(np.zeros(400, bool), (0.0, 20.0), (), 2.0, 1.0) == []


def test_spans_are_parsed() -> None:
    assert parse_spans("12.0-15.5; 80-90", "x") == ((12.0, 15.5), (80.0, 90.0)) and parse_spans("", "x") == ()
    for text in ("5", "5-4", "a-b", "1:00-2:00", "-3"):
        with pytest.raises(D2MError, match="not_music holds"):
            parse_spans(text, "x")


@pytest.mark.parametrize(
    "text, told",
    [
        ("genre\nx\n", "url or path"),
        ("url,genre\n", "lists no songs"),
        ("url,path,genre\na,b,x\n", "either url or path"),
        ("url,genre\nhttp://a,\n", "genre is empty"),
        ("path,genre,start\na,x,soon\n", "start is 'soon'"),
        ("path,genre,start,end\na,x,5,4\n", "end 4 is not after"),
        ("path,genre,name\na,x,../b\n", "not a valid file name"),
        ("path,genre,title\na,x,T\nb,x,T\n", "used twice"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(D2MError, match=told) as e:
        read_rows(table(tmp_path / "in.csv", text))
    assert "in.csv" in str(e.value) and "\n" not in str(e.value)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write(tmp_path / "a.wav", song([(4, 0.3)]), RATE)
    rows = table(tmp_path / "in.csv", "path,genre\na.wav,x\nb.wav,x\n")
    d2m("collect", f"manifest={rows}", f"out={tmp_path / 'o = 1'}")
    told = capsys.readouterr().out
    assert "1 stretches of music kept, 1 rows failed" in told and "1 of them have no poses" in told
    for words, told in (
        ([f"manifest={rows}", f"out={tmp_path / 'o'}", "strict=true"], "strict=true"),
        ([f"manifest={rows}"], r"give out=\.\.\."),
        (["speed=3"], "speed: no such key"),
        ([f"manifest={rows}", "out=x", "retries=many"], "retries=many"),
        (
            [f"manifest={table(tmp_path / 'n.csv', 'path,genre' + chr(10) + 'b.wav,x')}", f"out={tmp_path / 'n'}"],
            "nothing was",
        ),
    ):
        with pytest.raises(D2MError, match=told):
            d2m("collect", *words)


def test_the_module_exits_with_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "d2m", "collect", f"manifest={tmp_path / 'none.csv'}", f"out={tmp_path}"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
