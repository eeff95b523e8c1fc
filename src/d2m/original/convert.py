"""Conversion of the reference's three checkpoints to a bundle, and to checkpoints from which training can resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from d2m.bundle.format import CONFIG, FILES, MOTION_STYLE, write_bundle
from d2m.core.errors import D2MError
from d2m.core.files import sha256
from d2m.core.machine import git_revision, versions
from d2m.core.skeleton import POSE_DIM
from d2m.data.normalizer import Normalizer
from d2m.music.front_ends import FRONT_ENDS
from d2m.nets.sizes import Sizes
from d2m.original.names import STATS_FILES
from d2m.original.read import Original, read_stage1, read_stage2, read_style
from d2m.original.training_state import du_vae_checkpoint, mm_gan_checkpoint, music_style_checkpoint

#: The reference's demo redraws a dance if a unit's motion (normalised units) is below this; ours stops after MAX_DRAWS.
MOTION_THRESHOLD, MAX_DRAWS = 50.0, 8
RESUME = "resume"
#: The front end that the reference's networks were trained on.
FRONT_END = "legacy"

UnitDecoderSource = Literal["stage1", "stage2"]


@dataclass(frozen=True)
class Imported:
    """Result of an import: the bundle's folder, its sizes, and warnings for the user."""

    folder: Path
    sizes: Sizes
    warnings: tuple[str, ...]


def import_original(
    stage1: str | Path,
    stage2: str | Path,
    style: str | Path,
    out: str | Path,
    *,
    stats: str | Path | None = None,
    unit_decoder: UnitDecoderSource = "stage2",
    genres: Sequence[str] | None = None,
) -> Imported:
    """Read and check everything, then write ``out`` atomically.

    Args:
        stage1, stage2, style: ``Stage1.ckpt``, ``Stage2.ckpt``, ``aud_3cls.ckpt`` of the reference.
        out: the bundle's folder; an older bundle there is replaced. ``out/resume/<stage>/last.ckpt`` are Lightning
            checkpoints of du_vae, music_style and mm_gan.
        stats: folder of the normaliser's four npy files (:data:`STATS_FILES`); identity if None.
        unit_decoder: the stage whose unit decoder the bundle uses (docs/adr/0020-imported-unit-decoder.md).
        genres: names of the style network's classes, in their order; "genre_0", ... if None.

    Raises:
        D2MError: one line that names the file, the tensor and the fix; nothing was written.
    """
    out = Path(out)
    first = read_stage1(stage1)
    second = read_stage2(stage2, first)
    music = read_style(style)
    names = _genre_names(genres, music.sizes["n_genres"])
    warnings = []
    if stats is None:
        normalizer = identity_normalizer()
        warnings.append(
            "no stats=: features and poses are assumed to be normalised already, so songs look foreign to the style "
            f"network and dances are in deviations, not pixels; give the folder with {', '.join(STATS_FILES)}"
        )
    else:
        normalizer = read_stats(Path(stats))
    moved = [
        k for k, v in second.state.items() if k.startswith("net.movement_encoder.") and not v.equal(first.state[k])
    ]
    if moved:
        warnings.append(
            f"{second.path} has a different movement encoder from {first.path}, but the reference never trains it in "
            "stage 2: the two files may come from different training runs"
        )
    statistics = [] if stats is None else [Path(stats) / name for name in STATS_FILES]
    _check_out(out, [first.path, second.path, music.path, *statistics])
    frozen = {k: v for k, v in first.state.items() if k.startswith("net.initial_pose_")}
    state = {**frozen, **music.state, **second.state}
    if unit_decoder == "stage1":
        state |= {k: v for k, v in first.state.items() if k.startswith("net.unit_decoder.")}
    sizes = Sizes.from_dict({**music.sizes, **second.sizes})

    def write_resume(folder: Path) -> None:
        checkpoints = {
            "du_vae": du_vae_checkpoint(first, sizes),
            "music_style": music_style_checkpoint(music, sizes),
            "mm_gan": mm_gan_checkpoint(first, second, music, sizes),
        }
        # Our own checkpoints name their genres; an imported one does if the user gave names.
        told = {} if genres is None else {"genres": list(names)}
        for stage, checkpoint in checkpoints.items():
            (folder / RESUME / stage).mkdir(parents=True)
            try:
                torch.save({**checkpoint, **told}, folder / RESUME / stage / "last.ckpt")
            except RuntimeError as e:  # torch's error for a full disk
                raise D2MError(f"{out}: cannot write the checkpoints to resume from; free disk space") from e

    write_bundle(
        out,
        config={
            "sizes": sizes.to_dict(),
            "front_end": FRONT_END,
            "style_mode": "legacy",
            "motion_threshold": MOTION_THRESHOLD,
            "max_draws": MAX_DRAWS,
        },
        # Discriminators are needed for training only; they are in resume/.
        state={k[4:]: v for k, v in state.items() if k.startswith("net.")},
        normalizer=normalizer,
        genres=names,
        genre_means={},
        provenance=_provenance(first, second, music, stats, unit_decoder, warnings),
        card=model_card(names, sizes, unit_decoder, stats is not None),
        extra=write_resume,
    )
    return Imported(out, sizes, tuple(warnings))


def identity_normalizer() -> Normalizer:
    """A normaliser that leaves values unchanged."""
    return Normalizer.identity(FRONT_ENDS[FRONT_END].width)


def read_stats(folder: Path) -> Normalizer:
    """The reference's normaliser: mean and deviation of poses (pixels) and of features, 28 numbers each.

    Raises:
        D2MError: naming the file that is missing or holds something else.
    """
    if not folder.is_dir():
        raise D2MError(f"{folder}: no such folder; stats= takes a folder with {', '.join(STATS_FILES)}")
    values = []
    width = FRONT_ENDS[FRONT_END].width
    for name, size in zip(STATS_FILES, (POSE_DIM, POSE_DIM, width, width), strict=True):
        path = folder / name
        if not path.is_file():
            raise D2MError(f"{path}: missing; stats= takes a folder with {', '.join(STATS_FILES)}")
        try:
            value = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as e:
            raise D2MError(f"{path}: not a readable .npy file of numbers; copy it again from its source") from e
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.size != size:
            raise D2MError(f"{path}: shape {getattr(value, 'shape', '?')}; the normaliser needs {size} numbers")
        with np.errstate(over="ignore"):  # checked after the cast to float32
            value = value.reshape(-1).astype(np.float32)
        if not np.isfinite(value).all() or ("_std" in name and value.min() <= 0):
            raise D2MError(
                f"{path}: must hold finite numbers, and positive ones for standard deviations; copy it again"
            )
        values.append(value)
    return Normalizer(*values)


def _genre_names(genres: Sequence[str] | None, n: int) -> tuple[str, ...]:
    if genres is None:
        return tuple(f"genre_{i}" for i in range(n))
    names = tuple(g.strip() for g in genres)
    if len(names) != n or len(set(names)) != n or not all(names):
        raise D2MError(f"genres={','.join(genres)}: the style network has {n} classes; give {n} different names")
    return names


def _check_out(out: Path, inputs: Sequence[Path]) -> None:
    """Check that an existing ``out`` is empty or holds only a bundle, because it will be replaced.

    Raises:
        D2MError: it is something else, or holds an input.
    """
    try:
        there = {p.name for p in out.iterdir()} if out.is_dir() else set()
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise D2MError(f"{out}: is not a folder; name a new folder with out=")
    except OSError as e:
        raise D2MError(f"{out}: cannot write a bundle here ({e.strerror}); name another folder with out=") from e
    for path in inputs:
        if out.resolve() in path.resolve().parents:
            raise D2MError(f"{path}: lies inside {out}, which would be replaced; name another folder with out=")
    if there and (CONFIG not in there or there - {*FILES, MOTION_STYLE, RESUME}):
        raise D2MError(f"{out}: contains other files and would be replaced; name a new folder with out=")


def _provenance(
    stage1: Original, stage2: Original, style: Original, stats: str | Path | None, unit_decoder: str,
    warnings: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    files = {"stage1": stage1, "stage2": stage2, "style": style}
    return {
        "git": git_revision(),
        "versions": versions(),
        "imported_from": {
            key: {"name": o.path.name, "sha256": sha256(o.path), "epoch": o.epoch, "batches": o.batches}
            for key, o in files.items()
        },
        "stats": None if stats is None else {name: sha256(Path(stats) / name) for name in STATS_FILES},
        "unit_decoder": unit_decoder,
        "warnings": list(warnings),
    }


def model_card(genres: Sequence[str], sizes: Sizes, unit_decoder: str, with_stats: bool) -> str:
    """CARD.md of an import."""
    normalised = "the original's statistics" if with_stats else "identity (no statistics were given: see Limits)"
    shown = ", ".join(f"{k} {v}" for k, v in sizes.to_dict().items())
    return f"""# Dancing2Music bundle, imported from the original checkpoints

Weights of the reference implementation of Lee et al., "Dancing to Music", NeurIPS 2019, unchanged; imported by
`d2m import-original`. The files and their sha256 are in provenance.json.

- Genres: {", ".join(genres)}
- Sizes: {shown}
- Unit decoder: {unit_decoder}'s (docs/adr/0020-imported-unit-decoder.md)
- Audio front end: legacy; style: the last state of the network over the whole song, as the reference's demo takes it
- Normaliser: {normalised}
- A draw is redrawn below a motion of {MOTION_THRESHOLD:g}, the demo's constant, at most {MAX_DRAWS} times
- Genre means: none. They come from songs, and the checkpoints hold no songs; edits need them.

Licence: that of the original weights (non-commercial), not that of d2m.

## Limits

The legacy front end lets only the first 512 of every 1470 samples (23 of 67 ms) reach its spectrum. Without the
original's statistics the style network hears features on a scale that it was not trained on, and poses are in
standard deviations instead of pixels. z_dan from music is computed from the state of a genre classifier and noise, so
genres are apart in it by construction: judge edits by the motion.
"""
