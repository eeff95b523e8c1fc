"""Results of a sweep: sweep.json, the best trial, two plots, and a line for each failed trial."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from d2m.bundle.run_folder import RunFolder
from d2m.core.errors import D2MError
from d2m.core.files import write_json
from d2m.reports.runs.choose import Runs
from d2m.reports.runs.read import read_runs
from d2m.reports.runs.show import console, number, print_runs

#: A sweep's own files in its folder.
SUMMARY, PARALLEL, IMPORTANCE = "sweep.json", "parallel.png", "importance.png"


@dataclass(frozen=True)
class Trial:
    """One trial. folder: of its run. state: done, pruned, failed or running. value: of the objective, if done.
    by_chance: it failed because of its machine, not because of its own values.
    """

    name: str
    folder: Path
    params: Mapping[str, str]
    state: str
    value: float | None = None
    error: str | None = None
    by_chance: bool = False


@dataclass(frozen=True)
class Sweep:
    """A sweep's trials so far. objective: STAGE/METRIC or eval/objective; mode: "min" or "max"."""

    folder: Path
    objective: str
    mode: str
    trials: Sequence[Trial]
    importances: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Trial | None:
        """The finished trial with the best value."""
        done = [t for t in self.trials if t.state == "done" and t.value is not None]
        return min(done, key=lambda t: (t.value or 0.0) * (1 if self.mode == "min" else -1), default=None)

    def of(self, state: str) -> list[Trial]:
        """The trials in a state."""
        return [t for t in self.trials if t.state == state]

    def write(self) -> None:
        """Write sweep.json atomically.

        Raises:
            D2MError: it cannot be written.
        """
        best = self.best
        write_json(
            self.folder / SUMMARY,
            {
                "objective": self.objective, "mode": self.mode, "best": best and best.name,
                "importances": dict(self.importances),
                "trials": [
                    {"trial": t.name, "run": str(t.folder), "state": t.state, "value": t.value, "error": t.error,
                     "params": dict(t.params)} for t in self.trials
                ],
            },
        )  # fmt: skip

    def draw(self) -> list[Path]:
        """Draw those plots for which enough trials have finished; returns their files."""
        from d2m.draw.plots import save
        from d2m.draw.plots.sweeps import importance_bars, parallel_coordinates

        done = [t for t in self.trials if t.state == "done" and t.value is not None and math.isfinite(t.value)]
        keys = list(dict.fromkeys(k for t in done for k in t.params))
        made = []
        if len(done) > 1 and keys:
            rows = [({k: t.params.get(k, "") for k in keys}, float(t.value or 0.0)) for t in done]
            save(parallel_coordinates(rows, self.objective, self.mode), self.folder / PARALLEL)
            made.append(self.folder / PARALLEL)
        if self.importances:
            save(importance_bars(self.importances, self.objective, len(done)), self.folder / IMPORTANCE)
            made.append(self.folder / IMPORTANCE)
        return made


def next_commands(run: RunFolder) -> list[str]:
    """Commands to dance with a run's bundle, to a held-out song if there is one, and to evaluate it; [] without one."""
    if not run.bundle.is_dir():
        return []
    from d2m.data.corpus import Corpus

    song = "SONG"
    with suppress(D2MError, OSError):  # the corpus no longer exists
        corpus = Corpus.open(run.corpus())
        paths = [corpus.audio_path(int(i)) for split in ("test", "val") for i in corpus.recordings_in(split)]
        song = next((str(p) for p in paths if p is not None and p.is_file()), song)
    bundle, folder = shlex.quote(str(run.bundle)), shlex.quote(str(run.path))
    return [
        f"d2m infer bundle={bundle} music={shlex.quote(song)} out={folder}/dances",
        f"d2m evaluate bundle={bundle} out={folder}/held_out",
    ]


def print_sweep(sweep: Sweep, monitors: Mapping[str, tuple[str, str]], pictures: Sequence[Path] = ()) -> None:
    """Print the table of its runs, the best trial, its plots, how to upload offline W&B runs, and why trials failed."""
    runs = Runs(read_runs(sweep.folder), monitors)
    if runs.runs:
        print_runs(runs, errors=False)
    out = console()
    counts = ", ".join(f"{len(sweep.of(s))} {s}" for s in ("done", "pruned", "failed", "running") if sweep.of(s))
    lines = [] if runs.runs else [f"{sweep.folder}: {counts or 'no trials'}"]
    if best := sweep.best:
        words = " ".join(f"{k}={v}" for k, v in best.params.items())
        lines.append(f"best: {best.folder}, {sweep.objective} {number(best.value)} ({words})")
        lines += next_commands(RunFolder(best.folder))
    lines += [f"picture: {path}" for path in pictures]
    if next(sweep.folder.glob("*/wandb/offline-run-*"), None) is not None:
        lines.append(f"W&B was offline; to upload: wandb sync {shlex.quote(str(sweep.folder))}/*/wandb/offline-run-*")
    lines += [f"trial {t.name} pruned: {t.error}" for t in sweep.of("pruned")]
    lines += [f"trial {t.name} failed: {t.error}" for t in sweep.of("failed")]
    for line in lines:
        out.print(line, soft_wrap=True, highlight=False, markup=False)
