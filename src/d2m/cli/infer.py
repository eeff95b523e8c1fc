"""``d2m infer``: songs in, dances out, file by file; its arguments are conf/infer.yaml."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from d2m.cli.dances import Work
from d2m.cli.job import job
from d2m.core.errors import D2MError
from d2m.core.files import check_out, exit_on_signals
from d2m.core.progress import bar
from d2m.core.seeds import check_seed
from d2m.dance.dancer import Dancer
from d2m.dance.files import read_z_dan
from d2m.dance.stream import rows_for
from d2m.data.songs import find_songs
from d2m.edits.request import EditRequest, build_edit
from d2m.export.formats import FORMATS, Export
from d2m.music.beats import check_tracker

#: Keys of ``d2m export`` -> their names in this command.
_EXPORT_KEYS = {"format": "export", "fps": "export_fps"}


def output_names(songs: list[Path]) -> list[str]:
    """A unique name for every song: its stem; if that is not unique, its suffix is added, then its folders."""
    spelled = [[s.stem, f"{s.stem}_{s.suffix[1:]}"] for s in songs]
    for song, names in zip(songs, spelled, strict=True):
        for folder in reversed(song.absolute().parent.parts[1:]):
            names.append(f"{folder}_{names[-1]}")
    level = [0] * len(songs)
    while True:
        names = [s[k] for s, k in zip(spelled, level, strict=True)]
        counts = Counter(names)
        shared = [i for i, n in enumerate(names) if counts[n] > 1 and level[i] + 1 < len(spelled[i])]
        if not shared:
            return names
        for i in shared:
            level[i] += 1


def check_values(cfg: DictConfig) -> None:
    """Check that no required value is null, and that the seed and the numbers are valid.

    Raises:
        D2MError: naming the key.
    """
    for key in ("bundle", "music", "out"):
        if not cfg[key]:
            raise D2MError(f"{key}={cfg[key] or ''}: give {key}=...; d2m infer --help shows all")
    for key in ("seed", "warp", "video", "device", "devices", "lift", "export_fps"):
        if cfg[key] is None:
            raise D2MError(f"{key}=null: give a value, or omit {key}=")
    check_seed(cfg.seed, -(2**63), 2**63 - 1)  # torch's
    for key in ("batch", "devices"):
        if cfg[key] is not None and cfg[key] < 1:
            raise D2MError(f"{key}={cfg[key]}: give a whole number of at least 1, or omit {key}=")
    if cfg.devices > 1 and str(cfg.device) not in ("cpu", "cuda"):
        raise D2MError(f"device={cfg.device} devices={cfg.devices}: give device=cpu or device=cuda")


def read_export(cfg: DictConfig) -> Export | None:
    """The further formats that dances are exported to; None if there are none.

    Raises:
        D2MError: naming the key.
    """
    asked = tuple(map(str, cfg.export or []))
    try:  # the other keys are checked even if nothing is exported
        export = Export(asked or tuple(FORMATS), cfg.lift, cfg.export_fps)
    except D2MError as e:
        key, equals, rest = str(e).partition("=")
        raise D2MError(f"{_EXPORT_KEYS.get(key, key)}{equals}{rest}") from e
    return export if asked else None


def infer(cfg: DictConfig) -> list[Path]:
    """Dance to every song of the request; returns the songs that succeeded.

    Raises:
        D2MError: the request itself is invalid (before anything is written); or, after all other songs are done, one
            line that lists the failed ones.
    """
    check_values(cfg)
    dancer = Dancer.load(cfg.bundle, device=str(cfg.device), style_mode=cfg.style_mode)
    check_tracker(dancer.generator.beat_tracker)
    request = EditRequest.of(cfg.edit)
    strength = request.amount()
    export = read_export(cfg)
    edit = build_edit(request, dancer.generator)
    z_dan = None if cfg.z_dan is None else read_z_dan(cfg.z_dan, dancer.generator.net.sizes.z_dan)
    songs = find_songs(cfg.music)
    work = Work(
        songs=songs, names=output_names(songs), out=Path(cfg.out), seed=cfg.seed, edit=edit, strength=strength,
        formats=(".npz", ".mp4", ".json") if cfg.video else (".npz", ".json"), export=export, warp=cfg.warp,
        z_dan=z_dan,
        latent_file=None if cfg.z_dan is None else Path(cfg.z_dan).name,
        batch=rows_for(len(songs), dancer.generator.net.sizes, cfg.batch),
    )  # fmt: skip
    made = not work.out.exists()
    check_out(work.out)
    if (devices := min(cfg.devices, len(songs))) > 1:
        from d2m.cli.predict import dance_on_devices

        bad = dance_on_devices(dancer, work, str(cfg.device), devices)
    else:
        with bar(len(songs), "dancing", "songs") as step, work.writers() as writers:
            bad = work.dance(dancer, range(len(songs)), writers, step)
            step(0, description="writing files")  # no longer the song that was heard last
            step(writers.finish())
            bad |= writers.failed
    done = [song for song in songs if song not in bad]
    reasons = [bad[song] for song in songs if song in bad]
    if made and not done:  # nothing half-written, not even an empty folder
        with suppress(OSError):
            work.out.rmdir()
    if bad and len(songs) == 1:
        raise D2MError(reasons[0])
    if bad:
        raise D2MError(f"{len(done)} of {len(songs)} dances written to {work.out}; failed: " + " | ".join(reasons))
    return done


@job("infer")
def main(cfg: DictConfig) -> None:
    """Dance to the songs that the config names."""
    exit_on_signals()
    if cfg.state is None:
        done = infer(cfg)
    else:
        from d2m.cli.state import dance_state

        done = [dance_state(cfg)]
    print(f"{len(done)} {'dance' if len(done) == 1 else 'dances'} in {cfg.out}")
