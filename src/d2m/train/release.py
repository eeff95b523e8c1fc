"""From a finished run to a bundle: genre means, motion threshold, model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from d2m.bundle import sha256, write_bundle
from d2m.bundle.run_folder import RunFolder
from d2m.core.machine import git_revision, versions
from d2m.dance.extraction import genre_means
from d2m.dance.generator import DanceGenerator
from d2m.dance.lines import motion
from d2m.data.corpus import Corpus
from d2m.data.normalizer import Normalizer
from d2m.metrics.classification import balanced_accuracy, confusion
from d2m.nets.composition import Composition
from d2m.nets.motion_style import MotionStyle
from d2m.nets.music_style import StyleMode, check_style_mode
from d2m.nets.sizes import Sizes, sizes_in
from d2m.train.modules.motion_style import read_motion_style
from d2m.train.stage import MOTION_STYLE, STAGES, Stage

#: A unit counts as frozen if its motion is below this share of the real units' first percentile.
MOTION_SHARE = 0.5
MOTION_PERCENTILE = 1.0
MAX_DRAWS = 8
#: Style mode -> its description in the model card.
_STYLES: dict[StyleMode, str] = {
    "local": "one per segment of 96 frames, from the 6.4 s around it",
    "windows": "one per song, the mean over its 2 s windows",
    "legacy": "one per song, the state after its last frame",
}


def motion_threshold(corpus: Corpus, normalizer: Normalizer) -> float:
    """The redraw threshold, relative to the data; the reference's constant, 50, is 0.44 of its real units' motion."""
    train = corpus.units_in("train")
    train = train[:: max(1, len(train) // 20000)]
    real = torch.from_numpy(normalizer.normalize_poses(np.asarray(corpus.units[train])))
    return MOTION_SHARE * float(np.percentile(motion(real).numpy(), MOTION_PERCENTILE))


def read_composition(checkpoint: Path) -> tuple[Composition, dict[str, Any]]:
    """The networks of an mm_gan or generator checkpoint, without discriminators, and its hparams."""
    ckpt = torch.load(checkpoint, map_location="cpu", weights_only=True)
    hparams = ckpt["hyper_parameters"]
    net = Composition(Sizes.from_dict(sizes_in(hparams)))
    net.load_state_dict({k[4:]: v for k, v in ckpt["state_dict"].items() if k.startswith("net.")}, strict=True)
    return net.eval().requires_grad_(False), hparams


@torch.no_grad()
def motion_style_accuracy(net: MotionStyle, corpus: Corpus, normalizer: Normalizer) -> dict[str, float]:
    """Balanced accuracies on the units of the validation and test splits, on which no weights were fitted.

    Returns:
        "balanced_accuracy" (the judge, single units), "balanced_accuracy_songs" (the judge's mean vote over a
        recording, all views), "guide_balanced_accuracy" (single units), "chance", "units", "songs"; {} if nothing
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


def write_release(cfg: DictConfig, run: RunFolder, corpus_dir: Path, stage: Stage) -> Path:
    """Write ``<run>/bundle`` from the last checkpoint of ``stage``, which must be a stage that dances."""
    corpus = Corpus.open(corpus_dir)
    normalizer, style_mode = corpus.normalizer, check_style_mode(cfg.style_mode)
    net, _ = read_composition(run.checkpoint(stage.name))
    generator = DanceGenerator(net, normalizer, corpus.genres, front_end=corpus.front_end, style_mode=style_mode)
    threshold = motion_threshold(corpus, normalizer)
    corpus_facts = {
        "name": cfg.data.name,
        "fingerprint": corpus.digest,
        "genres": list(corpus.genres),
        "songs": {s: [corpus.recordings[i].name for i in corpus.recordings_in(s)] for s in ("train", "val", "test")},
    }
    classifier, motion_config = None, {}
    if run.is_done(MOTION_STYLE.name):
        classifier = read_motion_style(run.checkpoint(MOTION_STYLE.name))
        held_out = motion_style_accuracy(classifier, corpus, normalizer)
        motion_config = {"motion_style": {"sizes": classifier.sizes.to_dict(), "held_out": held_out}}
    return write_bundle(
        run.bundle,
        config={
            "sizes": net.sizes.to_dict(),
            "front_end": corpus.front_end,
            "beat_tracker": corpus.beat_tracker.plain(),
            "style_mode": style_mode,
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
            "stages": stages_of(cfg, run),
            "released_from": stage.name,
            "config": OmegaConf.to_container(cfg, resolve=True),
        },
        motion_style=None if classifier is None else classifier.state_dict(),
        card=model_card(cfg.data.name, corpus, stage.name, threshold, style_mode, motion_config),
    )


def stages_of(cfg: DictConfig, run: RunFolder) -> dict[str, Any]:
    """The bundle's record of every stage: those trained here, and the checkpoints given in place of a stage."""
    told: dict[str, Any] = {}
    for name in STAGES:
        given, last, done = cfg.init_from.get(name), run.checkpoint(name), run.done(name)
        if given:
            told[name] = {"sha256": sha256(Path(given)), "init_from": str(given)}
        elif last.exists():
            kept = ("metrics", "seconds", "precision", "warm_start", "seed", "reused_from")
            told[name] = {"sha256": sha256(last), **{k: done[k] for k in kept if k in done}}
    return told


def model_card(
    name: str,
    corpus: Corpus,
    stage: str,
    threshold: float,
    style_mode: StyleMode,
    motion_config: dict[str, Any] | None = None,
) -> str:
    """CARD.md: what the model is, its training data, and what must not be concluded from it."""
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
- Style of the music: {_STYLES[style_mode]} (style_mode {style_mode})
- A draw is redrawn below a motion of {threshold:.1f} (sum of absolute normalised frame differences of a unit)
{judge}

Method: Lee et al., "Dancing to Music", NeurIPS 2019; deviations are listed in docs/adr of the d2m repository.

## Limits

z_dan from music is computed from the state of a genre classifier and noise, so genres are apart in it by
construction: their separation alone is no evidence that dances differ. Judge edits by the motion, with all noise
shared, on songs that were not trained on (provenance.json names them).
"""
