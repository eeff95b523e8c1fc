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
from d2m.core.machine import git_revision, versions
from d2m.dance.generator import DanceGenerator, motion
from d2m.data.corpus import Corpus
from d2m.data.normalizer import Normalizer
from d2m.metrics.classification import balanced_accuracy, confusion
from d2m.nets.composition import Composition
from d2m.nets.motion_style import MotionStyle
from d2m.train.modules.motion_style import read_motion_style

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


@torch.no_grad()
def motion_style_accuracy(net: MotionStyle, corpus: Corpus, normalizer: Normalizer) -> dict[str, float]:
    """Balanced accuracies on the units of the validation and test splits; no weight was fitted on them.

    Returns:
        "balanced_accuracy" (the judge, single units), "balanced_accuracy_songs" (the judge's mean vote over a
        recording, all views), "guide_balanced_accuracy" (single units), "chance", "units", "songs"; {} where nothing
        is held out.
    """
    ids = np.concatenate([corpus.units_in(split) for split in ("val", "test")])
    if not len(ids):
        return {}
    n = len(corpus.genres)
    truth = torch.from_numpy(np.asarray(corpus.unit_genre[ids], np.int64))
    parts = [net(torch.from_numpy(normalizer.normalize_poses(corpus.units[part])))
             for part in np.array_split(ids, -(-len(ids) // 1024))]  # fmt: skip
    guide, judge = (torch.cat(x).softmax(-1) for x in zip(*parts, strict=True))
    songs, of_unit = np.unique(corpus.unit_recording[ids], return_inverse=True)
    votes = torch.zeros(len(songs), n).index_add_(0, torch.from_numpy(of_unit), judge)
    song_truth = torch.from_numpy(corpus.recording_genre[songs])

    def accuracy(labels: torch.Tensor, p: torch.Tensor) -> float:
        return float(balanced_accuracy(confusion(labels, p.argmax(-1), n)))

    return {
        "balanced_accuracy": accuracy(truth, judge),
        "balanced_accuracy_songs": accuracy(song_truth, votes),
        "guide_balanced_accuracy": accuracy(truth, guide),
        "chance": 1 / n,
        "units": float(len(ids)),
        "songs": float(len(songs)),
    }


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
        "fingerprint": corpus.digest,
        "genres": list(corpus.genres),
        "songs": {s: [corpus.recordings[i].name for i in corpus.recordings_in(s)] for s in ("train", "val", "test")},
    }
    classifier, motion_config = None, {}
    if (checkpoints / "motion_style" / "done.json").exists():
        classifier = read_motion_style(checkpoints / "motion_style" / "last.ckpt")
        held_out = motion_style_accuracy(classifier, corpus, normalizer)
        motion_config = {"motion_style": {"sizes": classifier.sizes, "held_out": held_out}}
    return write_bundle(
        run_dir / "bundle",
        config={
            "sizes": net.sizes,
            "front_end": corpus.front_end,
            "beat_tracker": corpus.beat_tracker.plain(),
            "style_mode": "windows",
            "motion_threshold": threshold,
            "max_draws": MAX_DRAWS,
            **motion_config,
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
        motion_style=None if classifier is None else classifier.state_dict(),
        card=model_card(cfg.data.name, corpus, stage, threshold, motion_config),
    )


def _done(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint.with_name("done.json")
    if not path.exists():
        return {}
    done: dict[str, Any] = json.loads(path.read_text())
    return {k: done[k] for k in ("metrics", "seconds", "precision")}


def model_card(
    name: str, corpus: Corpus, stage: str, threshold: float, motion_config: dict[str, Any] | None = None
) -> str:
    """CARD.md: what the model is, what it was trained on, what not to conclude from it."""
    counts = {s: len(corpus.recordings_in(s)) for s in ("train", "val", "test")}
    held_out = (motion_config or {}).get("motion_style", {}).get("held_out")
    judge = "- Motion classifier: none (stage motion_style was not trained)"
    if held_out:
        judge = (
            f"- Motion classifier: balanced accuracy {held_out['balanced_accuracy']:.2f} on held-out units, "
            f"{held_out['balanced_accuracy_songs']:.2f} on held-out songs (chance {held_out['chance']:.2f})"
        )
    return f"""# Dancing2Music bundle, trained on {name}

Dances to music: 14 joints in 2-D at 15 frames per second, from {corpus.n_features} audio features
({corpus.front_end}); beats by {corpus.beat_tracker.name}.

- Genres: {", ".join(corpus.genres)}
- Songs: {counts["train"]} for training, {counts["val"]} for validation, {counts["test"]} for testing
- Dance units of 32 frames in the corpus: {len(corpus.units)} (several camera yaws of one dance count each)
- Released from stage: {stage}
- A draw is redrawn below a motion of {threshold:.1f} (sum of absolute normalised frame differences of a unit)
{judge}

Method: Lee et al., "Dancing to Music", NeurIPS 2019; deviations are listed in docs/adr of the d2m repository.

## Limits

z_dan from music is computed from the state of a genre classifier and noise, so genres are apart in it by
construction: their separation alone is no evidence that dances differ. Judge edits by the motion, with all noise
shared, on songs that were not trained on (provenance.json names them).
"""
