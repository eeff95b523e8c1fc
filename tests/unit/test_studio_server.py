"""The studio's server: access control, responses, caches."""

from __future__ import annotations

import base64
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from d2m.core.errors import D2MError
from d2m.core.skeleton import SAMPLE_RATE
from d2m.studio.excerpts import loudest
from d2m.studio.export import export_page
from d2m.studio.kept import Kept
from d2m.studio.library import MAX_SOUNDS
from d2m.studio.session import Session
from d2m.studio.state import State
from d2m.studio.wire import frame, frames
from d2m.studio.worker import Job, Worker
from tests.studio import HOST, TOKEN, Client, library, shift, state, write_song

pytest.importorskip("starlette", reason="needs starlette (pip install -e .[dev])")


@pytest.fixture(scope="module")
def at(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return library(tiny_bundle, tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def client(at: Any) -> Client:
    return Client(at)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/catalogue", {}), ("/wrong/api/catalogue", {}), ("/", {}), (f"/{TOKEN}x/", {}),
        (f"/{TOKEN}/api/catalogue", {"host": "evil.example:8000"}),
        (f"/{TOKEN}/api/catalogue", {"origin": "http://evil.example"}),
        (f"/{TOKEN}/api/catalogue", {"origin": "null"}),
        (f"/{TOKEN}/api/catalogue", {"sec-fetch-site": "cross-site"}),
        (f"/{TOKEN}/", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}),
    ],
)  # fmt: skip
def test_others_are_refused_without_a_word(client: Client, path: str, headers: dict[str, str]) -> None:
    answer = client.http.get(path, headers=headers)
    assert answer.status_code == 403 and not answer.content


def test_the_page_is_served_with_a_policy_and_fetches_nothing_from_elsewhere(client: Client) -> None:
    own = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
    answer = client.http.get(f"/{TOKEN}/", headers=own)
    assert answer.status_code == 200 and "default-src 'self'" in answer.headers["content-security-policy"]
    page = Path(__file__).parents[2] / "src" / "d2m" / "studio" / "page"
    for file in page.iterdir():
        text = file.read_text(encoding="utf-8")
        assert client.http.get(f"/{TOKEN}/{file.name}").status_code == 200
        assert "http://" not in text and "https://" not in text and "style=" not in text


@pytest.mark.parametrize(
    "path",
    ["/saved/../state.json", "/saved/%2e%2e/state.json", "/sounds/..%2f..%2fsongs%2fa.wav", "/../../etc/passwd",
     "/app.py", "/api/nothing"],
)  # fmt: skip
def test_nothing_outside_its_folders_is_served(client: Client, path: str) -> None:
    client.dance(state_of(client))
    assert client.http.get(f"/{TOKEN}{path}").status_code in (400, 403, 404)


def state_of(client: Client) -> dict[str, Any]:
    there = client.http.get(f"/{TOKEN}/api/catalogue").json()
    return {"format": 1, "bundle": there["bundles"][0]["path"], "song": there["songs"][0]["path"]}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"song": "/etc/passwd"}, "passwd"), ({"bundle": "/etc"}, "/etc"), ({"seed": None}, "seed"),
        ({"edits": [{"file": "/etc", "strength": 1}]}, "/etc"), ({"draws": [50]}, "draws: 50"),
        ({"edits": [{**shift(), "latents": "/etc/passwd"}]}, "latents"),
        ({"edits": [shift(1.0, "drive", "polka")]}, "polka"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_one_message(client: Client, at: Any, changed: dict[str, Any], word: str) -> None:
    *_, (header, _) = client.ask("dance", {**state(at), **changed})
    assert header["kind"] == "error" and word in header["message"] and "\n" not in header["message"]


def test_a_dance_comes_with_sound_in_ranges_beats_and_energy(client: Client, at: Any) -> None:
    header, arrays = client.dance(state(at, shift()))
    t = header["frames"]
    assert t == 240 and header["versions"] == ["original", "neutral", "target"]
    assert all(arrays[v].shape == (t, 14, 2) for v in header["versions"])
    assert all(len(header["energy"][v]) == 14 for v in header["versions"]) and header["judged"] == {}
    np.testing.assert_allclose(np.diff(header["music_beats"]), 0.5, atol=0.07)
    sound = client.http.get(f"/{TOKEN}/{header['sound']}", headers={"range": "bytes=0-43"})
    assert sound.status_code == 206 and sound.content[:4] == b"RIFF"
    assert header["state"] == State.parse(state(at, shift())).plain()


def test_while_a_slider_moves_only_the_playhead_is_danced(client: Client, at: Any) -> None:
    client.dance(state(at, shift(0.2)))
    kinds = [h["kind"] for h, _ in client.ask("dance", state(at, shift(0.4)), playhead=3.0, exact=False)]
    assert [k for k in kinds if k != "progress"] == ["provisional"]
    kinds = [h["kind"] for h, _ in client.ask("dance", state(at, shift(0.4)), playhead=3.0)]
    assert [k for k in kinds if k != "progress"] == ["provisional", "dance"]


def test_a_server_that_is_started_again_has_the_state(client: Client, at: Any) -> None:
    asked = state(at, shift([[0, 0], [5, 1]]), seed=11)
    client.dance(asked)
    client.dance(state(at, seed=12), compare=True)  # what is only compared is not what is on the screen
    again = Client(at).http.get(f"/{TOKEN}/api/catalogue").json()
    assert again["state"] == State.parse(asked).plain()


def test_saved_files_are_those_of_infer(client: Client, at: Any) -> None:
    asked = state(at, shift(0.6), seed=4)
    _, arrays = client.dance(asked)
    *_, (saved, _) = client.ask("save", asked)
    assert [Path(f).name for f in saved["files"]] == ["a.json", "a.npz", "state.json"]
    got = client.http.get(f"/{TOKEN}/{saved['files'][1]}")
    path = at.out / "got.npz"
    path.write_bytes(got.content)
    with np.load(path) as file:
        np.testing.assert_array_equal(file["poses"], arrays["target"])
    *_, (twice, _) = client.ask("save", asked, also=["bvh"])
    assert twice["files"] != saved["files"]
    assert [Path(f).name for f in twice["files"]] == ["a.bvh", "a.json", "a.npz", "state.json"]
    assert client.http.get(f"/{TOKEN}/{twice['files'][0]}").text.startswith("HIERARCHY")
    *_, (refused, _) = client.ask("save", asked, also=["../x"])
    assert refused["kind"] == "error" and "openpose" in refused["message"]


def test_an_edit_becomes_a_direction_file(client: Client, at: Any, tiny_bundle: Path) -> None:
    *_, (saved, _) = client.ask("direction", state(at, shift()), index=0)
    assert saved["folder"] in [d["path"] for d in client.http.get(f"/{TOKEN}/api/catalogue").json()["directions"]]
    asked = state(at, {"file": saved["folder"], "strength": 1.0})
    assert client.dance(asked)[0]["versions"][-1] == "target"
    again = State.parse(asked)
    session = Session(str(tiny_bundle))
    np.testing.assert_array_equal(
        session.show(again).poses["target"], session.show(State.parse(state(at, shift()))).poses["target"]
    )
    assert Path(saved["folder"]).name == "mean_shift-drive-flow"
    *_, (refused, _) = client.ask("direction", state(at, shift()), index=1)
    assert refused["kind"] == "error"


def test_a_dropped_song_is_danced_to_and_a_broken_one_is_one_message(client: Client, at: Any) -> None:
    data = Path(at.songs()[1]).read_bytes()
    added = client.http.put(f"/{TOKEN}/api/songs/my%20song.wav", content=data).json()
    header, _ = client.dance({**state(at), "song": added["path"]})
    assert header["seconds"] == pytest.approx(9.0)
    for name, content in (("bad.mp3", b"no sound" * 500), ("notes.txt", data), (".hidden.wav", data), ("e.wav", b"")):
        answer = client.http.put(f"/{TOKEN}/api/songs/{name}", content=content)
        assert answer.status_code == 400 and "\n" not in answer.json()["message"]
        assert str(at.out) not in answer.json()["message"]
    assert [p.name for p in (at.out / "songs").iterdir()] == ["my song.wav"]


def test_dropped_songs_are_bounded_in_size_and_number(client: Client, at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("d2m.studio.app.MAX_SONG", 1000)
        answer = client.http.put(f"/{TOKEN}/api/songs/large.wav", content=b"x" * 1001)
        assert answer.status_code == 400 and "larger than" in answer.json()["message"]
    assert not [p for p in (at.out / "songs").iterdir() if "large" in p.name or p.name.startswith(".")]
    monkeypatch.setattr("d2m.studio.library.MAX_SONGS", len(list((at.out / "songs").iterdir())))
    answer = client.http.put(f"/{TOKEN}/api/songs/more.wav", content=Path(at.songs()[0]).read_bytes())
    assert answer.status_code == 400 and "delete some" in answer.json()["message"]
    assert not (at.out / "songs" / "more.wav").exists()


def test_links_do_not_lead_out_of_what_is_served(client: Client, at: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (at.out / "saved" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (at.out / "saved" / "folder").symlink_to(tmp_path)
    for path in ("saved/link.txt", "saved/folder/secret.txt"):
        assert client.http.get(f"/{TOKEN}/{path}").status_code == 404


def test_an_excerpt_is_the_loudest_part_of_a_song_of_this_studio(client: Client, at: Any, tmp_path: Path) -> None:
    wave = 0.01 * np.ones(20 * SAMPLE_RATE, np.float32)
    wave[12 * SAMPLE_RATE : 16 * SAMPLE_RATE] = 0.5
    part = loudest(wave)
    assert len(part) == 6 * SAMPLE_RATE and part[0] == part[-1] == 0
    assert (part > 0.4).sum() == 4 * SAMPLE_RATE
    song = at.songs()[0]
    answer = client.http.get(f"/{TOKEN}/api/excerpt", params={"song": song})
    heard, rate = soundfile.read(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "audio/wav" and rate == SAMPLE_RATE and len(heard) == 6 * SAMPLE_RATE
    outside = write_song(tmp_path / "outside.wav")
    for other in (str(outside), "../outside.wav", ""):
        assert client.http.get(f"/{TOKEN}/api/excerpt", params={"song": other}).status_code == 400


def test_a_state_of_another_computer_is_shown_with_what_is_here(client: Client, at: Any) -> None:
    asked = {**state(at, shift()), "song": "/elsewhere/a.wav", "bundle": "/elsewhere/bundle"}
    told = client.http.post(f"/{TOKEN}/api/state", json={"state": asked}).json()
    assert told["state"] == State.parse(state(at, shift())).plain() and len(told["notes"]) == 2
    same = client.http.post(f"/{TOKEN}/api/state", json={"state": told["state"]}).json()
    assert same == {"state": told["state"], "notes": []}
    for wrong in ({"song": "/elsewhere/none.wav"}, {"edits": [{"file": "/elsewhere", "strength": 1}]}, {"seed": "x"}):
        answer = client.http.post(f"/{TOKEN}/api/state", json={"state": {**asked, **wrong}})
        assert answer.status_code == 400 and "\n" not in answer.json()["message"]


def test_a_song_cannot_leave_its_folder(at: Any) -> None:
    assert at.place_for("../../evil.wav") == at.out / "songs" / "evil.wav"
    assert at.place_for("..\\evil.wav") == at.out / "songs" / "evil.wav"
    for name in ("..", ".", "", "a" * 300 + ".wav"):
        with pytest.raises(D2MError, match="name"):
            at.place_for(name)


def test_sounds_are_bounded(at: Any) -> None:
    for k in range(MAX_SOUNDS + 3):
        at.sound(np.full(1000, 0.01 * k, np.float32))
    assert len(list((at.out / "sounds").iterdir())) == MAX_SOUNDS


def test_an_exported_page_holds_the_dance_and_nothing_of_the_machine(at: Any, tmp_path: Path) -> None:
    asked = State.parse(state(at, shift(0.9), seed=8))
    asked.write(at.state_path)
    page = export_page(at, tmp_path / "out").read_text(encoding="utf-8")
    text = page.split('id="dance">')[1].split("</script>")[0]
    held = json.loads(text)
    got = np.frombuffer(base64.b64decode(held["data"]["target"]), "<f4").reshape(-1, 14, 2)
    np.testing.assert_array_equal(got, Session(asked.bundle).show(asked).poses["target"])
    assert held["state"]["song"] == "a.wav" and str(at.out.parent) not in page
    assert "src=" not in page and "href=" not in page and "from './" not in page


def test_what_is_kept_is_bounded_and_the_last_used_stays() -> None:
    kept: Kept[int] = Kept(2)
    made: list[str] = []
    for key in ("a", "b", "a", "c", "a", "b"):
        kept.get(key, lambda key=key: made.append(key) or len(made))  # type: ignore[misc,func-returns-value]
    assert made == ["a", "b", "c", "b"] and len(kept) == 2


def test_frames_survive_the_wire() -> None:
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(3, 2), "y": np.arange(3, dtype=np.uint8)}
    data = frame("dance", {"value": float("nan"), "é": "ü"}, arrays) + frame("end", {})
    (first, got), (last, none) = frames(data)
    assert first["kind"] == "dance" and first["value"] is None and first["é"] == "ü"
    assert all(np.array_equal(got[k], arrays[k]) for k in arrays) and last["kind"] == "end" and not none


def test_a_newer_request_ends_the_older_one_of_the_same_asker_alone() -> None:
    started, worker = threading.Event(), Worker()
    sent: dict[str, list[str]] = {"old": [], "waiting": [], "new": [], "other": []}
    ended = {name: threading.Event() for name in sent}

    def send(name: str, data: bytes | None) -> None:
        if data is None:
            ended[name].set()
        else:
            sent[name] += [h["kind"] for h, _ in frames(data)]

    def endless(job: Job) -> None:
        started.set()
        while True:
            job.tick()

    def quick(job: Job) -> None:
        job.send(frame("dance", {}))

    worker.submit(Job("a", endless, lambda d: send("old", d)))
    assert started.wait(10)
    for name, asker in (("other", "b"), ("waiting", "a"), ("new", "a")):
        worker.submit(Job(asker, quick, lambda d, name=name: send(name, d)))  # type: ignore[misc]
    assert all(e.wait(10) for e in ended.values())
    assert sent == {"old": ["superseded"], "other": ["dance"], "waiting": ["superseded"], "new": ["dance"]}
    worker.close()


def test_a_job_that_breaks_leaves_the_worker_alive(capsys: pytest.CaptureFixture[str]) -> None:
    worker, ended, sent = Worker(), threading.Event(), list[bytes]()

    def send(data: bytes | None) -> None:
        if data is None:
            ended.set()
        else:
            sent.append(data)

    def broken(job: Job) -> None:
        raise RuntimeError("boom")

    for _ in range(2):
        ended.clear()
        worker.submit(Job("a", broken, send))
        assert ended.wait(10)
    told = [h["message"] for data in sent for h, _ in frames(data)]
    assert len(told) == 2 and all("boom" in m for m in told)
    worker.close()
    assert "RuntimeError" in capsys.readouterr().err


def test_long_or_foreign_requests_are_refused(client: Client) -> None:
    for content in (b"[" * 2000, b"[]", b"{}", b" " * (2**20 + 1), json.dumps({"state": {}}).encode()):
        assert client.http.post(f"/{TOKEN}/api/dance", content=content).status_code == 400
