"""The demo on the embedded corpus: train, dance to held-out songs, edit them, measure, and write a page.

    python -m experiments.demo.run [out=outputs/demo] [seed=0] [experiment=demo]

If interrupted, run it again with the same ``out`` and it resumes.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

from d2m.cli.command_line import run
from experiments.command import arguments, call

DEFAULTS = {"out": "outputs/demo", "seed": 0, "experiment": "demo"}


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    args = arguments(DEFAULTS, sys.argv[1:])
    started = time.monotonic()
    out = Path(args["out"])
    commands = [
        call(
            "train.py", f"experiment={args['experiment']}", "logger=csv", f"seed={args['seed']}",
            f"hydra.run.dir={out}/run", "resume=auto",
        )
    ]  # fmt: skip

    from d2m.bundle.run_folder import RunFolder
    from d2m.core.files import write_json
    from d2m.dance.generator import DanceGenerator
    from d2m.data.corpus import Corpus
    from d2m.reports.evaluate.run import Request, evaluate
    from d2m.reports.held_out import energy_extremes
    from experiments.demo.claims import measure_claims

    folder = RunFolder(out / "run")
    bundle = folder.bundle
    generator = DanceGenerator.load(bundle)
    corpus = Corpus.open(folder.corpus())
    songs = copy_held_out_songs(corpus, out / "songs")
    high, low = energy_extremes(corpus)
    commands.append(call("infer.py", f"bundle={bundle}", f"music={out}/songs", f"out={out}/dances"))
    for source, target in ((high, low), (low, high)):
        song = next(p for p in songs if p.name.startswith(source))
        commands.append(
            call(
                "infer.py", f"bundle={bundle}", f"music={song}", f"out={out}/edits", "edit=mean_shift",
                f"edit.source={source}", f"edit.target={target}",
            )
        )  # fmt: skip
    print("\nmeasuring on the held-out songs ...", flush=True)
    report = measure_claims(generator, corpus)
    # A reduced d2m evaluate: two songs per genre, one dance to each.
    request = Request((bundle,), out / "evaluation", songs_per_genre=2, draws=1, seed=args["seed"])
    report["evaluation"] = evaluate(request).report
    commands.append(
        f"d2m evaluate bundle={bundle} out={request.out} card=d2m songs_per_genre=2 draws=1 seed={args['seed']}"
    )
    report["minutes"] = (time.monotonic() - started) / 60
    write_json(out / "report.json", report)
    from experiments.demo.page import write_demo_page

    page = write_demo_page(out, corpus, report, commands)
    print(summary(report))
    print(f"\nbundle: {bundle}\nvideos: {out / 'dances'} and {out / 'edits'}\npage:   {page}")


def copy_held_out_songs(corpus: Any, folder: Path) -> list[Path]:
    """Copy the held-out songs to a folder, like a user's folder of music."""
    from d2m.reports.held_out import held_out_songs

    folder.mkdir(parents=True, exist_ok=True)
    paths = [p for i in held_out_songs(corpus) if (p := corpus.audio_path(i)) is not None]
    return [Path(shutil.copyfile(p, folder / p.name)) for p in paths]


def summary(report: dict[str, Any]) -> str:
    """The claims of the report, one line each, marked true or false as measured."""
    from d2m.motion.kinematics import ENERGY_UNIT

    energy, (down, up) = report["energy"], report["edits"]
    high, low = report["most_energetic"], report["least_energetic"]
    claims = [
        (
            f"generated {high} has more kinetic energy than generated {low}: "
            f"{energy[high]['generated']:.3g} > {energy[low]['generated']:.3g} {ENERGY_UNIT}",
            energy[high]["generated"] > energy[low]["generated"],
        ),
        (
            f"{high} - mean({high}) + mean({low}) lowers it: {down['original']:.3g} -> {down['edited']:.3g}",
            down["edited"] < down["original"],
        ),
        (
            f"{low} - mean({low}) + mean({high}) raises it: {up['original']:.3g} -> {up['edited']:.3g}",
            up["edited"] > up["original"],
        ),
        ("strength 0 returns the original to the bit", down["strength_0_exact"] and up["strength_0_exact"]),
    ]
    lines = [f"  [{'yes' if ok else ' NO'}] {text}" for text, ok in claims]
    return "\n".join([f"\nheld-out songs, all noise shared ({report['minutes']:.1f} minutes in all):", *lines])


if __name__ == "__main__":
    run(main)
