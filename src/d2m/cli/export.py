"""``d2m export``: dances of ``d2m infer`` to the formats of other programs; its arguments are conf/export.yaml."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, ListConfig

from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.core.files import check_out, exit_on_signals
from d2m.core.progress import bar
from d2m.core.skeleton import JOINTS
from d2m.export.formats import Export

#: Version -> its key in an npz of ``d2m infer``.
VERSIONS = {"target": "poses", "original": "poses_original", "neutral": "poses_neutral"}


def find_dances(dance: str) -> list[Path]:
    """The npz files that ``dance`` names.

    Raises:
        D2MError: there is none.
    """
    path = Path(dance)
    paths = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not paths or not paths[0].is_file():
        raise D2MError(f"dance={dance}: no npz here; give what d2m infer wrote, a file or its folder")
    return paths


def read_versions(path: Path, version: str) -> Iterator[tuple[str, NDArray[np.float32], float]]:
    """Yield (name suffix, poses, frames per second) of the requested versions.

    Raises:
        D2MError: not an npz of ``d2m infer``, or it lacks the version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: file[k] for k in ("joint_names", "fps", *VERSIONS.values()) if k in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as e:
        raise D2MError(f"{path}: not readable as an npz; give one that d2m infer wrote") from e
    if (
        "poses" not in arrays
        or tuple(arrays.get("joint_names", ())) != JOINTS
        or arrays.get("fps", np.empty(0)).size != 1
    ):
        raise D2MError(f"{path}: has no poses of 14 named joints with a frame rate; give an npz that d2m infer wrote")
    chosen = [v for v in VERSIONS if VERSIONS[v] in arrays] if version == "all" else [version]
    for name in chosen:
        if VERSIONS[name] not in arrays:
            raise D2MError(f"{path}: is not edited, so it has no version={name}; omit version=")
        suffix = f"_{name}" if len(chosen) > 1 else ""
        yield suffix, arrays[VERSIONS[name]], float(arrays["fps"].reshape(()))


@job("export")
def main(cfg: DictConfig) -> None:
    """Write every dance in every format.

    Raises:
        D2MError: an invalid value; an unreadable dance; a file that cannot be written.
    """
    exit_on_signals()
    for key in map(str, cfg):
        if not cfg[key] and cfg[key] != 0:  # fps=0 gets the error that lists the choices
            raise D2MError(f"{key}={cfg[key] or ''}: give {key}=...; d2m export --help shows all")
    if cfg.version not in (*VERSIONS, "all"):
        raise D2MError(f"version={cfg.version}: choose from {', '.join(VERSIONS)}, all")
    formats = cfg.format if isinstance(cfg.format, ListConfig) else [cfg.format]
    export = Export(tuple(map(str, formats)), cfg.lift, cfg.fps, cfg.canvas)
    dances = find_dances(str(cfg.dance))
    read = [(path, list(read_versions(path, cfg.version))) for path in dances]
    out = Path(cfg.out)
    check_out(out)
    written: list[Path] = []
    with bar(len(read), "exporting", "dances") as step:
        for path, versions in read:
            for suffix, poses, fps in versions:
                try:
                    written += export.write(out, f"{path.stem}{suffix}", poses, fps)
                except D2MError as e:
                    raise D2MError(f"{path}: {e}") from e
            step()
    print("\n".join(map(str, written)))
