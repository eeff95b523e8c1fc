"""``d2m studio``: its arguments are conf/studio/studio.yaml."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.core.files import exit_on_signals
from d2m.export.formats import FORMATS

#: Output folder of ``make demo``.
DEMO = Path("outputs/demo")

_FOLDERS = ("latents", "directions", "runs")


def _paths(value: object) -> tuple[str, ...]:
    listed = list(value) if isinstance(value, ListConfig) else [value]
    return tuple(dict.fromkeys(os.path.abspath(str(v)) for v in listed if v))


def page_folder(export: object) -> Path | None:
    """The page's folder given by ``export=``; None if the studio is to be served.

    Raises:
        D2MError: the value is one of the formats of ``d2m infer export=``.
    """
    listed = list(export) if isinstance(export, ListConfig) else [] if export is None else [export]
    if formats := [str(f) for f in listed if str(f) in FORMATS]:
        raise D2MError(
            f"export={formats[0]}: here export= is the folder of a page; for files give the state to d2m infer: "
            f"d2m infer state=FILE export=[{','.join(formats)}] out=DIR"
        )
    if len(listed) > 1:
        raise D2MError(f"export={export}: give one folder for the page")
    return Path(str(listed[0])) if listed else None


@job("studio")
def main(cfg: DictConfig) -> None:
    """Serve the studio, or write it as a page."""
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise D2MError(f"d2m studio needs {package}: pip install 'd2m[studio]'")
    page = page_folder(cfg.export)
    from d2m.studio.library import Library
    from d2m.studio.state import State

    bundles, music = _paths(cfg.bundle), cfg.music
    state = None if cfg.state is None else State.read(cfg.state)
    if state is not None:
        state = replace(state, bundle=os.path.abspath(state.bundle), song=os.path.abspath(state.song))
        bundles = tuple(dict.fromkeys((state.bundle, *bundles)))
        music = music or state.song
    latents, directions, runs = (None if cfg[k] is None else os.path.abspath(cfg[k]) for k in _FOLDERS)
    if not bundles:
        bundles, music = _paths(DEMO / "run" / "bundle"), music or DEMO / "songs"
        runs = runs or os.path.abspath(DEMO)
        if not Path(bundles[0]).is_dir():
            raise D2MError("give bundle=DIR, the bundle of a training run; or make the demo first (make demo)")
    library = Library(
        bundles, Path(cfg.out), None if music is None else str(music), latents=latents, directions=directions, runs=runs
    )
    if state is not None:
        library.adopt(state)[0].write(library.state_path)
    if page is not None:
        from d2m.studio.export import export_page

        print(export_page(library, page, str(cfg.device)))
        return
    from d2m.studio.serve import serve

    exit_on_signals()
    serve(library, cfg.port, str(cfg.device), bool(cfg.open))
