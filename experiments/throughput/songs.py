"""Time of a dance to a song, alone and through ``d2m infer`` with many, against the plain calls."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from hydra import compose, initialize_config_dir

from d2m.bundle import write_bundle
from d2m.core.skeleton import FPS, SAMPLE_RATE
from d2m.dance.dancer import hear
from d2m.dance.generator import DanceGenerator
from d2m.dance.stream import rows_for
from d2m.dance.together import dance_to
from d2m.data.normalizer import Normalizer
from d2m.nets.composition import Composition
from d2m.nets.sizes import Sizes
from d2m.toy import make_pair
from experiments.command import REPO
from experiments.parts import Save
from experiments.throughput.plain_song import PlainDancer
from experiments.timing import alternate, ratios, spread, summary

GENRES = ("a", "b", "c")


def make_bundle(folder: Path, size: str, front_end: str = "mfcc", genres: Sequence[str] = GENRES) -> Path:
    """Untrained networks of a size, with the paper's style network; they dance as fast as trained ones."""
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        chosen = compose("train", [f"size={size}", "model/music_style=paper"]).size
    torch.manual_seed(0)
    net = Composition(Sizes.from_dict({**{str(k): v for k, v in chosen.items()}, "n_genres": len(genres)}))
    shutil.rmtree(folder, ignore_errors=True)
    n = net.sizes.n_features
    return write_bundle(
        folder,
        config={
            "sizes": net.sizes.to_dict(), "front_end": front_end, "style_mode": "local", "motion_threshold": 0.0,
            "max_draws": 8,
        },
        state=net.state_dict(),
        normalizer=Normalizer(np.full(28, 250.0), np.full(28, 50.0), np.zeros(n), np.ones(n)),
        genres=tuple(genres),
        genre_means={g: np.zeros(net.sizes.z_dan, np.float32) for g in genres},
        provenance={"made": "for measurements"},
        card="# not trained\n",
    )  # fmt: skip


def made_song(seconds: float, n_features: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Features, beats that need no stretching, and frames of a song."""
    frames = round(seconds * FPS)
    features = np.random.default_rng(0).normal(size=(frames, n_features)).astype(np.float32)
    return features, np.arange(8, frames, 8) / FPS, frames


def measure_song(generator: DanceGenerator, plain: PlainDancer, seconds: float, repeats: int) -> dict[str, Any]:
    """``dance_to``, the warp included, against both plain ways, which have none."""
    features, beats, frames = made_song(seconds, generator.net.sizes.n_features)
    took = alternate(
        {
            "ours": lambda: dance_to(generator, features, beats, frames, seed=0),
            "needed": lambda: plain.dance(features, as_released=False),
            "as released": lambda: plain.dance(features, as_released=True),
            "floor": lambda: recurrent_products(generator, rows=1, steps=frames),
        },
        repeats,
    )
    return _numbers(took)


@torch.no_grad()
def recurrent_products(generator: DanceGenerator, rows: int, steps: int) -> None:
    """What must follow one another in decoding units, and nothing else: products, and for one row also the gates."""
    gru = generator.net.unit_decoder.body.gru
    if rows == 1:
        gru.repeat_row(torch.zeros(4 * gru.hidden_size), torch.zeros(gru.hidden_size), steps)
        return
    weight = gru.weight_hh_l0.mT
    states, gates = torch.zeros(rows, len(weight)), torch.zeros(rows, weight.shape[1])
    for _ in range(steps):
        torch.addmm(gates, states, weight, out=gates)


def measure_infer(bundle: Path, out: Path, n: int, seconds: float, repeats: int) -> dict[str, Any]:
    """Files in, files out: processor time of one song among ``n`` through ``d2m infer video=false``.

    The plain ways read one song's file, hear it (features and beats) and dance; they write nothing.
    """
    folder, dances = out / "songs", out / "dances"
    folder.mkdir(parents=True, exist_ok=True)
    song, _ = make_pair("groove", seconds, np.random.default_rng(0))
    for k in range(n):
        soundfile.write(folder / f"{k:03}.flac", np.roll(song.wave, 1000 * k), SAMPLE_RATE)
    generator = DanceGenerator.load(bundle)
    plain, path, frames = PlainDancer(generator), folder / "000.flac", round(seconds * FPS)
    took = alternate(
        {
            "ours": lambda: infer(bundle, folder, dances),
            "needed": lambda: plain.dance(hear(generator, path).features, as_released=False),
            "as released": lambda: plain.dance(hear(generator, path).features, as_released=True),
            "hearing": lambda: hear(generator, path),
            "floor": lambda: recurrent_products(generator, rows_for(n, generator.net.sizes), frames),
        },
        repeats,
    )
    written = len(list(dances.glob("*.npz")))
    assert written == n, f"{written} of {n} dances were written"
    shutil.rmtree(folder)
    shutil.rmtree(dances)
    rows = rows_for(n, generator.net.sizes)
    return _numbers({**took, "ours": [t / n for t in took["ours"]], "floor": [t / rows for t in took["floor"]]})


def infer(bundle: Path, songs: Path, out: Path) -> None:
    """The command within this process, without its start."""
    from d2m.cli.infer import infer as act

    shutil.rmtree(out, ignore_errors=True)
    with initialize_config_dir(str(REPO / "conf"), version_base="1.3"):
        cfg = compose("infer", [f"bundle='{bundle}'", f"music='{songs}'", f"out='{out}'", "video=false"])
    act(cfg)


def _numbers(took: Mapping[str, list[float]]) -> dict[str, Any]:
    """Seconds of each, and how many times faster ours is than both plain ways."""
    numbers: dict[str, Any] = {f"{name}, s": summary(values) for name, values in took.items()}
    return numbers | {name: ratios(took[name], took["ours"]) for name in ("needed", "as released")}


def measure_songs(out: Path, size: str, repeats: int, lengths: tuple[float, ...], n: int, save: Save) -> dict[str, Any]:
    """One song of every length, and ``n`` songs of the first length together; printed and saved as they come."""
    bundle = make_bundle(out / "bundle", size)
    generator = DanceGenerator.load(bundle)
    plain = PlainDancer(generator)
    _check_alike(generator, plain)
    rows: dict[str, Callable[[], dict[str, Any]]] = {
        f"one song, {seconds:g} s": partial(measure_song, generator, plain, seconds, repeats) for seconds in lengths
    }
    rows[f"per song, {n} songs of {lengths[0]:g} s"] = partial(measure_infer, bundle, out, n, lengths[0], repeats)
    measured: dict[str, Any] = {"size": size}
    for name, row in rows.items():
        numbers = measured[name] = row()
        save(measured)
        others = ", ".join(f"{k} {spread(numbers[k], 1)}x" for k in ("needed", "as released"))
        parts = "".join(f", {k} {numbers[k]['median']:.3g} s" for k in ("hearing, s", "floor, s") if k in numbers)
        print(f"  {name}: ours {numbers['ours, s']['median']:.3g} s{parts}, {others}", flush=True)
    return measured


@torch.no_grad()
def _check_alike(generator: DanceGenerator, plain: PlainDancer) -> None:
    """See that both dance the same: one unit from one latent, one pose and one noise."""
    s, seed = generator.net.sizes, torch.Generator().manual_seed(0)
    mov, ini = (torch.randn(1, 1, k, generator=seed) for k in (s.z_mov, s.z_ini))
    pose = torch.randn(1, 28, generator=seed)
    ours = generator.net.unroll(mov, pose, ini)[:, 0]
    mu, logvar = plain.net.initial_pose_encoder(pose)
    theirs = plain.net.unit_decoder(mu + (logvar / 2).exp() * ini[:, 0], mov[:, 0])
    assert torch.allclose(ours, theirs, atol=1e-4), "the plain unit decoder dances differently"
