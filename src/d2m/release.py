"""From a finished run to a bundle: genre means, motion threshold, model card."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from d2m.bundle import sha256, write_bundle
from d2m.data.corpus import Corpus
from d2m.data.normalizer import Normalizer
from d2m.generator import DanceGenerator, motion
from d2m.nets.composition import Composition
from d2m.runtime import git_revision, versions

#: A unit that moves less than this share of the stillest percentile of real units counts as frozen.
MOTION_SHARE = 0.5
MOTION_PERCENTILE = 1.0
MAX_DRAWS = 8
#: Draws of the 30-d noise that a song's mean z_dan averages over.
LATENT_DRAWS = 64


def motion_threshold(corpus: Corpus, normalizer: Normalizer) -> float:
    """The redraw threshold relative to the data; the reference's constant, 50, is 0.44 of its real units' motion."""
    train = corpus.units_in("train")
    train = train[:: max(1, len(train) // 20000)]
    real = torch.from_numpy(normalizer.normalize_poses(np.asarray(corpus.units[train])))
    return MOTION_SHARE * float(np.percentile(motion(real).numpy(), MOTION_PERCENTILE))


def genre_means(
    generator: DanceGenerator, corpus: Corpus, split: str = "train", seed: int = 0
) -> dict[str, np.ndarray]:
    """Genre -> mean over its songs of the noise-averaged z_dan (z_dan,). Songs weigh the same."""
    found: dict[str, list[np.ndarray]] = {g: [] for g in corpus.genres}
    for i in corpus.recordings_in(split, with_music=True):
        z = generator.song_latent(corpus.song_features(i), torch.Generator().manual_seed(seed), LATENT_DRAWS)
        found[corpus.recordings[i].genre].append(z.mu[0].cpu().numpy())
    return {g: np.mean(z, axis=0) for g, z in found.items() if z}


def read_composition(checkpoint: Path) -> tuple[Composition, dict[str, Any]]:
    """The networks of an mm_gan or generator checkpoint, without discriminators, and its hparams."""
    ckpt = torch.load(checkpoint, map_location="cpu", weights_only=True)
    hparams = ckpt["hyper_parameters"]
    net = Composition(**{k: hparams[k] for k in signature(Composition).parameters})
    net.load_state_dict({k[4:]: v for k, v in ckpt["state_dict"].items() if k.startswith("net.")}, strict=True)
    return net.eval().requires_grad_(False), hparams


def write_release(cfg: DictConfig, run_dir: Path, corpus_dir: Path, stage: str) -> Path:
    """``<run>/bundle`` from the last checkpoint of ``stage`` ("generator" or "mm_gan")."""
    corpus = Corpus.open(corpus_dir)
    normalizer = corpus.normalizer
    checkpoints = run_dir / "checkpoints"
    net, _ = read_composition(checkpoints / stage / "last.ckpt")
    generator = DanceGenerator(net, normalizer, corpus.genres, front_end=corpus.front_end)
    threshold = motion_threshold(corpus, normalizer)
    stages = {p.parent.name: {"sha256": sha256(p), **_done(p)} for p in sorted(checkpoints.glob("*/last.ckpt"))}
    corpus_facts = {
        "name": cfg.data.name,
        "fingerprint": corpus.folder.name,
        "genres": list(corpus.genres),
        "songs": {s: [corpus.recordings[i].name for i in corpus.recordings_in(s)] for s in ("train", "val", "test")},
    }
    return write_bundle(
        run_dir / "bundle",
        config={
            "sizes": net.sizes,
            "front_end": corpus.front_end,
            "style_mode": "windows",
            "motion_threshold": threshold,
            "max_draws": MAX_DRAWS,
        },
        state=net.state_dict(),
        normalizer=normalizer,
        genres=corpus.genres,
        genre_means=genre_means(generator, corpus, seed=cfg.seed),
        provenance={
            "git": git_revision(),
            "versions": versions(),
            "corpus": corpus_facts,
            "stages": stages,
            "released_from": stage,
            "config": OmegaConf.to_container(cfg, resolve=True),
        },
        card=model_card(cfg.data.name, corpus, stage, threshold),
    )


def _done(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint.with_name("done.json")
    if not path.exists():
        return {}
    done: dict[str, Any] = json.loads(path.read_text())
    return {k: done[k] for k in ("metrics", "seconds", "precision")}


def model_card(name: str, corpus: Corpus, stage: str, threshold: float) -> str:
    """CARD.md: what the model is, what it was trained on, what not to conclude from it."""
    counts = {s: len(corpus.recordings_in(s)) for s in ("train", "val", "test")}
    return f"""# Dancing2Music bundle, trained on {name}

Dances to music: 14 joints in 2-D at 15 frames per second, from 28 audio features ({corpus.front_end}).

- Genres: {", ".join(corpus.genres)}
- Songs: {counts["train"]} for training, {counts["val"]} for validation, {counts["test"]} for testing
- Dance units of 32 frames in the corpus: {len(corpus.units)} (several camera yaws of one dance count each)
- Released from stage: {stage}
- A draw is redrawn below a motion of {threshold:.1f} (sum of absolute normalised frame differences of a unit)

Method: Lee et al., "Dancing to Music", NeurIPS 2019; deviations are listed in docs/adr of the d2m repository.

## Limits

z_dan from music is computed from the state of a genre classifier and noise, so genres are apart in it by
construction: their separation alone is no evidence that dances differ. Judge edits by the motion, with all noise
shared, on songs that were not trained on (provenance.json names them).
"""
