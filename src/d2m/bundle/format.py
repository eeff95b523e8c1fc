"""A trained system on disk: seven small files, no pickle, readable without Lightning and Hydra.

config.json          sizes, front end, beat tracker, style mode, motion threshold
weights.safetensors  all networks except the discriminators
normalizer.npz       pose and feature mean and standard deviation of the training split
genres.json          names of the genres, in the order of the style network's classes
genre_means.npz      genre -> mean z_dan of the training songs
provenance.json      origin, and the sha256 of every other file
CARD.md              the model card

If stage motion_style was trained, there is one more file (docs/adr/0045-motion-style.md), listed in provenance.json:

motion_style.safetensors  the motion classifier; config.json's "motion_style" has its sizes and held-out accuracy
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from d2m.bundle.run_folder import RunFolder
from d2m.bundle.signature import runs_below
from d2m.core.errors import D2MError
from d2m.core.files import sha256
from d2m.data.normalizer import Normalizer
from d2m.music.front_ends import FRONT_ENDS
from d2m.nets.music_style import check_style_mode
from d2m.nets.sizes import MotionSizes, Sizes

FORMAT = 1
CONFIG, WEIGHTS, NORMALIZER, GENRES = "config.json", "weights.safetensors", "normalizer.npz", "genres.json"
GENRE_MEANS, PROVENANCE, CARD = "genre_means.npz", "provenance.json", "CARD.md"
#: Optional, in a separate file, because the digest of WEIGHTS identifies the latent space, which it does not affect.
MOTION_STYLE = "motion_style.safetensors"
_MOTION_KEY = "motion_style"
FILES = (CONFIG, WEIGHTS, NORMALIZER, GENRES, GENRE_MEANS, PROVENANCE, CARD)
_CONFIG_KEYS = {"format", "sizes", "front_end", "style_mode", "motion_threshold", "max_draws"}


@dataclass(frozen=True)
class Bundle:
    """The validated contents of a bundle."""

    folder: Path
    config: dict[str, Any]
    state: dict[str, Tensor]
    normalizer: Normalizer
    genres: tuple[str, ...]
    genre_means: dict[str, np.ndarray]
    provenance: dict[str, Any]
    motion_style: dict[str, Tensor] | None = None

    @property
    def sizes(self) -> Sizes:
        """Sizes of the networks; always valid for a bundle accepted by :func:`read_bundle`."""
        return Sizes.from_dict(self.config["sizes"])

    @property
    def motion_sizes(self) -> MotionSizes | None:
        """Sizes of the motion classifier; None without one."""
        facts = self.config.get(_MOTION_KEY)
        return None if facts is None else MotionSizes.from_dict(facts["sizes"])

    def load_weights_into(self, net: nn.Module) -> None:
        """Load all tensors; names and shapes must match exactly.

        Raises:
            D2MError: a tensor is missing, extra or has another shape.
        """
        self._load(net, self.state, WEIGHTS)

    def load_motion_style_into(self, net: nn.Module) -> None:
        """As :meth:`load_weights_into`, for the motion classifier; requires that :attr:`motion_style` is not None.

        Raises:
            D2MError: a tensor is missing, extra or has another shape.
        """
        self._load(net, self.motion_style or {}, MOTION_STYLE)

    def _load(self, net: nn.Module, state: dict[str, Tensor], file: str) -> None:
        expected = {k: tuple(v.shape) for k, v in net.state_dict().items()}
        shapes = {k: tuple(v.shape) for k, v in state.items()}
        for name in sorted(expected.keys() | shapes.keys()):
            if expected.get(name) != shapes.get(name):
                raise D2MError(
                    f"{self.folder / file}: tensor '{name}' has shape {shapes.get(name, 'none (missing)')}, "
                    f"{CONFIG} expects {expected.get(name, 'none (extra)')}; do not mix files of different bundles"
                )
        net.load_state_dict(state, strict=True)


def _seal(provenance: dict[str, Any]) -> str:
    """Digest of the provenance without its own seal."""
    body = {k: v for k, v in provenance.items() if k != "seal"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _tensors(path: Path, state: dict[str, Tensor]) -> None:
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, path)
    except SafetensorError as e:  # raised by safetensors if the disk is full
        raise OSError(errno.EIO, str(e)) from e
    os.chmod(path, 0o644)  # safetensors makes files readable by their owner only


def write_bundle(
    folder: str | Path,
    *,
    config: dict[str, Any],
    state: dict[str, Tensor],
    normalizer: Normalizer,
    genres: tuple[str, ...],
    genre_means: dict[str, np.ndarray],
    provenance: dict[str, Any],
    card: str,
    motion_style: dict[str, Tensor] | None = None,
    extra: Callable[[Path], None] | None = None,
) -> Path:
    """Write a bundle atomically, replacing an existing one.

    Args:
        motion_style: tensors of the motion classifier; ``config["motion_style"]`` then has "sizes" and "held_out".
        extra: called with the temporary folder, to write further files that go with the bundle but are not part of it.

    Raises:
        D2MError: the folder cannot be written; an unknown style mode.
        ValueError: the config lacks a key that :func:`read_bundle` requires.
    """
    missing = (_CONFIG_KEYS - {"format"}) - config.keys()
    if missing:
        raise ValueError(f"bundle config lacks {sorted(missing)}")
    check_style_mode(config["style_mode"])
    if (motion_style is None) != (config.get(_MOTION_KEY) is None):
        raise ValueError("a bundle has the motion classifier's tensors and its config, or neither")
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as e:
        raise D2MError(f"{folder}: cannot write the bundle here ({e.strerror}); choose another folder") from e
    try:
        os.chmod(tmp, 0o755)
        _json(tmp / CONFIG, {"format": FORMAT, **config})
        _tensors(tmp / WEIGHTS, state)
        if motion_style is not None:
            _tensors(tmp / MOTION_STYLE, motion_style)
        normalizer.save(tmp / NORMALIZER)
        _json(tmp / GENRES, list(genres))
        np.savez(tmp / GENRE_MEANS, **{k: np.asarray(v, np.float32) for k, v in genre_means.items()})  # type: ignore[arg-type]
        (tmp / CARD).write_text(card)
        if extra is not None:
            extra(tmp)
        written = [f for f in FILES if f != PROVENANCE] + ([] if motion_style is None else [MOTION_STYLE])
        sealed = {**provenance, "files": {f: sha256(tmp / f) for f in written}}
        _json(tmp / PROVENANCE, {**sealed, "seal": _seal(sealed)})
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            os.replace(folder, old / folder.name)
            os.replace(tmp, folder)
            shutil.rmtree(old)
        else:
            os.replace(tmp, folder)
    except OSError as e:
        raise D2MError(
            f"{folder}: cannot write the bundle here ({e.strerror}); free space or choose another folder"
        ) from e
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return folder


def _check_style_mode(folder: Path, config: dict[str, Any]) -> None:
    """Check that the style mode is known.

    Raises:
        D2MError: an unknown style mode.
    """
    try:
        check_style_mode(config["style_mode"])
    except D2MError as e:
        raise D2MError(f"{folder / CONFIG}: {e}; update d2m, or train the bundle again") from e


def _check_sizes(folder: Path, config: dict[str, Any]) -> None:
    """Check that the networks can be built.

    Raises:
        D2MError: an unknown, missing or invalid width.
    """
    try:
        Sizes.from_dict(config["sizes"])
        if _MOTION_KEY in config:
            MotionSizes.from_dict(config[_MOTION_KEY]["sizes"])
    except D2MError as e:
        raise D2MError(f"{folder / CONFIG}: {e}; copy the bundle again, or train it again") from e


def _check_width(folder: Path, config: dict[str, Any], normalizer: Normalizer) -> None:
    """Check that networks, normaliser and front end have the same number of features.

    Raises:
        D2MError: they differ. An unknown front end is not compared.
    """
    said = {"the normaliser": normalizer.n_features, "the networks": Sizes.from_dict(config["sizes"]).n_features}
    if config["front_end"] in FRONT_ENDS:
        said[f"front end {config['front_end']}"] = FRONT_ENDS[config["front_end"]].width
    if len(set(said.values())) > 1:
        widths = ", ".join(f"{who} {n}" for who, n in said.items())
        raise D2MError(f"{folder}: feature widths differ ({widths}); do not mix files of different bundles")


def read_bundle(folder: str | Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        D2MError: naming the missing, altered or unreadable file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise D2MError(f"{folder}: no such bundle folder; d2m train writes one to <run>/bundle")
    run = RunFolder(folder)
    if run.bundle.is_dir() and not (folder / PROVENANCE).is_file():
        raise D2MError(f"{folder}: a run's folder; give {run.bundle}")
    if run.facts_path.is_file():
        raise D2MError(
            f"{folder}: a run that has no bundle (yet); d2m runs show run={shlex.quote(str(folder))} says why"
        )
    if not any((folder / name).is_file() for name in FILES):
        below = next((r.bundle for r in runs_below(folder, 2) if r.bundle.is_dir()), "the folder RUN/bundle")
        raise D2MError(f"{folder}: not a bundle; give {below}")
    for name in FILES:
        if not (folder / name).is_file():
            raise D2MError(f"{folder / name}: missing from the bundle; copy the whole folder again")
    try:
        provenance = json.loads((folder / PROVENANCE).read_text())
        intact = _seal(provenance) == provenance["seal"]
        digests = dict(provenance["files"])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
        raise D2MError(f"{folder / PROVENANCE}: not a readable provenance file; copy the bundle again") from e
    if not intact:
        raise D2MError(f"{folder / PROVENANCE}: altered since the bundle was written; copy the bundle again")
    whole = [f for f in FILES if f != PROVENANCE] + [MOTION_STYLE] * (MOTION_STYLE in digests)
    for name in whole:
        if not (folder / name).is_file():
            raise D2MError(f"{folder / name}: missing from the bundle; copy the whole folder again")
        if digests.get(name) != sha256(folder / name):
            raise D2MError(f"{folder / name}: altered since the bundle was written; copy the bundle again")
    try:
        config = json.loads((folder / CONFIG).read_text())
        if config.get("format") != FORMAT or not config.keys() >= _CONFIG_KEYS:
            raise D2MError(f"{folder / CONFIG}: bundle format {config.get('format')}, but this version reads {FORMAT}")
        if (_MOTION_KEY in config) != (MOTION_STYLE in digests):
            raise ValueError(f"{CONFIG} and {MOTION_STYLE} do not belong together")
        _check_sizes(folder, config)
        _check_style_mode(folder, config)
        normalizer = Normalizer.load(folder / NORMALIZER)
        _check_width(folder, config, normalizer)
        with np.load(folder / GENRE_MEANS, allow_pickle=False) as means:
            genre_means = {k: means[k] for k in means.files}
        return Bundle(
            folder=folder,
            config=config,
            state=load_file(folder / WEIGHTS),
            normalizer=normalizer,
            genres=tuple(json.loads((folder / GENRES).read_text())),
            genre_means=genre_means,
            provenance=provenance,
            motion_style=load_file(folder / MOTION_STYLE) if MOTION_STYLE in digests else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError, SafetensorError) as e:
        raise D2MError(f"{folder}: not a readable bundle ({e}); copy the bundle again") from e
