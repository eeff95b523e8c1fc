"""``d2m infer state=FILE``: writes the dance shown by the studio to files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from d2m.cli.infer import read_export
from d2m.core.errors import D2MError
from d2m.core.files import appear_together, check_out
from d2m.dance.dancer import Dancer
from d2m.edits.request import EditRequest
from d2m.studio.dances import dance_of
from d2m.studio.state import State

#: Keys that a state file sets -> the value that means "not given on the command line".
_SAID: dict[str, Any] = {"seed": 0, "warp": True, "style_mode": None, "z_dan": None}


def dance_state(cfg: DictConfig) -> Path:
    """Write the dance of a state file; ``bundle`` and ``music`` override those in the file.

    Returns:
        The song.

    Raises:
        D2MError: see :meth:`State.read` and :func:`dance_of`; or a key that the state file sets is given.
    """
    for key, default in _SAID.items():
        if cfg[key] != default:
            raise D2MError(f"{key}={cfg[key]}: the state file says that; omit {key}=, or state=")
    if EditRequest.of(OmegaConf.to_container(cfg.edit)) != EditRequest():  # type: ignore[arg-type]
        raise D2MError("edit=: the state file says the edits; omit edit= and edit.*=, or state=")
    state = State.read(cfg.state)
    if not OmegaConf.is_missing(cfg, "bundle") and cfg.bundle:
        state = replace(state, bundle=str(cfg.bundle))
    if not OmegaConf.is_missing(cfg, "music") and cfg.music:
        state = replace(state, song=str(cfg.music))
    if not cfg.out:
        raise D2MError("out=: give out=...; d2m infer --help shows all")
    export = read_export(cfg)
    dancer = Dancer.load(state.bundle, device=str(cfg.device))
    dance = dance_of(dancer, state)
    out, name = Path(cfg.out), Path(state.song).stem
    check_out(out)
    with appear_together(out, instead_of=(f"{name}.mp4",)) as part:
        for suffix in (".npz", ".mp4", ".json") if cfg.video else (".npz", ".json"):
            dance.save(part / f"{name}{suffix}")
        if export is not None:
            export.write(part, name, dance.poses)
    return Path(state.song)
