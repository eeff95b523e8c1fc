"""The studio as its page meets it: waits for a picture and for the exact dance, and memory over a long session."""

from __future__ import annotations

import gc
import http.client
import itertools
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from d2m.bundle import read_bundle, write_bundle
from d2m.core.skeleton import SAMPLE_RATE
from d2m.studio.app import make_app
from d2m.studio.library import Library
from d2m.studio.wire import frames
from d2m.toy import make_pair
from experiments.throughput.songs import GENRES, make_bundle
from experiments.timing import spread, summary

TOKEN = "token"
#: What is measured of every request: (name, whether the exact dance is asked for).
_ASKED = (("picture at the playhead", False), ("exact dance", True))
#: Requests before memory counts, and those between two readings of it.
WARM_UP, EVERY = 60, 20


def bundle_with_means(folder: Path, size: str) -> Path:
    """As of ``part=songs``, with genre means apart: an edit's neutral and target dance are then two dances."""
    plain = read_bundle(make_bundle(folder, size))
    rng = np.random.default_rng(0)
    return write_bundle(
        folder, config=plain.config, state=plain.state, normalizer=plain.normalizer, genres=plain.genres,
        genre_means={g: rng.normal(size=plain.sizes.z_dan).astype(np.float32) for g in GENRES},
        provenance={"made": "for measurements"}, card="# not trained\n",
    )  # fmt: skip


class Client:
    """One page of a studio."""

    def __init__(self, port: int) -> None:
        self.port = port

    def post(self, what: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """The headers of all frames, each with "at": wall seconds since the request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        started = time.perf_counter()
        connection.request("POST", f"/{TOKEN}/api/{what}", json.dumps(asked))
        response = connection.getresponse()
        data, headers = b"", []
        while part := response.read1(1 << 20):
            data += part
            while len(data) >= 4 and len(data) >= (size := 4 + int.from_bytes(data[:4], "little")):
                header, _ = next(iter(frames(data[:size])))
                headers.append({**header, "at": time.perf_counter() - started})
                data = data[size:]
        connection.close()
        if response.status != 200 or any(h["kind"] == "error" for h in headers):
            raise RuntimeError(f"{what}: {response.status} {headers[-1:]}")
        return headers


@contextmanager
def served(library: Library) -> Iterator[Client]:
    """A studio on a port of this computer."""
    import uvicorn

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        app: Any = make_app(library, TOKEN, frozenset({f"127.0.0.1:{port}"}))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield Client(port)
        server.should_exit = True
        thread.join(30)


def state(library: Library, strength: Any, **values: Any) -> dict[str, Any]:
    edit = {"name": "mean_shift", "source": GENRES[0], "target": GENRES[1], "strength": strength}
    plain = {"format": 1, "bundle": library.bundles[0], "song": library.songs()[0], "edits": [edit]}
    return {**plain, **values}


def write_songs(folder: Path, seconds: float, n: int) -> Path:
    """Songs that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    song, _ = make_pair("groove", seconds, np.random.default_rng(0))
    for k in range(n):
        soundfile.write(folder / f"{k}.flac", np.roll(song.wave, 1000 * k), SAMPLE_RATE)
    return folder


def measure_studio(out: Path, size: str, repeats: int, minutes: float, seconds: float) -> dict[str, Any]:
    """A slider is moved and let go ``repeats`` times in a song of some length; then a session of some minutes, if any.

    Returns:
        For every wait its wall and its processor time, the whole process's, page and server; the first hearing of the
        song; reports of progress of an exact dance; resident memory in MiB after the warm-up and at the end, and the
        requests between.
    """
    bundle = bundle_with_means(out / "studio-bundle", size)
    library = Library((str(bundle),), out / "studio", str(write_songs(out / "studio-songs", seconds, 4)))
    numbers: dict[str, Any] = {"size": size, "song, s": seconds, "threads": torch.get_num_threads()}
    with served(library) as client:
        numbers["first hearing and dance, s"] = client.post("dance", {"state": state(library, 0.0), "tab": "a"})[-1][
            "at"
        ]
        took: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in _ASKED}
        progress = 0
        for k, (name, exact) in itertools.product(range(repeats + 1), _ASKED):
            asked = {"state": state(library, 0.5 + 0.01 * k), "tab": "a", "playhead": seconds / 2, "exact": exact}
            started = time.process_time()
            answer = client.post("dance", asked)
            if k:  # the first is a warm-up
                kind = "dance" if exact else "provisional"
                came = next(h["at"] for h in answer if h["kind"] == kind)
                took[name].append((came, time.process_time() - started))
            progress = sum(h["kind"] == "progress" for h in answer)
        for name, values in took.items():
            for clock, column in (("wall", 0), ("processor", 1)):
                numbers[f"{name}, {clock} s"] = summary([v[column] for v in values])
        numbers["reports of progress"] = progress
        for name, _ in _ASKED:
            shown = ", ".join(f"{c} {spread(numbers[f'{name}, {c} s'], 3)} s" for c in ("wall", "processor"))
            print(f"  {name}: {shown}", flush=True)
        if minutes > 0:
            numbers |= long_session(client, library, minutes)
    return numbers


def long_session(client: Client, library: Library, minutes: float) -> dict[str, Any]:
    """Songs, seeds, sliders, redraws, saves and two tabs in turn for some minutes; resident memory as it goes."""
    songs, readings = library.songs(), list[tuple[float, float]]()
    started, until = time.perf_counter(), None
    k = 0
    while until is None or time.perf_counter() < until:
        song, tab = songs[(k // 10) % len(songs)], "ab"[k % 2]
        draws = [k % 3] if k % 7 == 0 else None
        asked = {"state": state(library, 0.1 + (k % 19) / 10, song=song, seed=k // 40, draws=draws), "tab": tab}
        client.post("dance", {**asked, "playhead": (k * 7) % 60, "exact": k % 4 == 0})
        if k % 50 == 49:
            client.post("save", asked)
        k += 1
        if k == WARM_UP:
            until = time.perf_counter() + 60 * minutes
        if k >= WARM_UP and k % EVERY == 0:
            gc.collect()
            readings.append((time.perf_counter() - started, resident_mib()))
            print(f"  {k} requests, {readings[-1][0]:.0f} s: {readings[-1][1]:.0f} MiB", flush=True)
    return {
        "memory after warm-up, MiB": readings[0][1], "memory at the end, MiB": readings[-1][1],
        "most memory, MiB": max(m for _, m in readings), "requests": k, "session, s": readings[-1][0],
    }  # fmt: skip


def resident_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
