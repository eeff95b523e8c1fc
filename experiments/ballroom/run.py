"""What a run on the ballroom dances learned, on songs it did not train on.

    d2m train data=ballroom size=small trainer=cpu hydra.run.dir=outputs/ballroom
    python -m experiments.ballroom.run run=outputs/ballroom [out=outputs/ballroom/report] [seeds=3] [folds=5]

Writes report.json and report.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from d2m.cli.command_line import run
from experiments.command import arguments

DEFAULTS = {"run": None, "out": "outputs/ballroom/report", "seeds": 3, "folds": 5}


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    args = arguments(DEFAULTS, sys.argv[1:])
    from d2m.bundle import read_bundle
    from d2m.bundle.run_folder import RunFolder
    from d2m.core.files import write_json
    from d2m.dance.generator import DanceGenerator
    from d2m.data.corpus import Corpus
    from d2m.reports.evaluation import evaluate
    from experiments.ballroom.style import cross_validate

    folder, out = RunFolder(Path(args["run"])), Path(args["out"])
    corpus = Corpus.open(folder.corpus())
    bundle = read_bundle(folder.bundle)
    provenance = bundle.provenance
    report = evaluate(DanceGenerator.load(folder.bundle), corpus, seeds=range(args["seeds"]))
    config = provenance["config"]
    options = {k: v for k, v in config["model"]["music_style"].items() if not k.startswith("_")}
    options["sizes"] = bundle.sizes.to_dict()
    if "lr" in options:  # bundles older than docs/adr/0052-sizes.md
        old = {k: options.pop(k) for k in ("lr", "weight_decay")}
        options["optimizer"] = {"_target_": "torch.optim.AdamW", **old}
    fit = config["fit"]["music_style"]
    report["style_cross_validated"] = cross_validate(
        corpus, options, fit["max_epochs"] * fit["steps_per_epoch"], fit["batch_size"], args["folds"]
    )
    report["stages"] = provenance["stages"]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "report.json", report)
    text = markdown(report)
    (out / "report.md").write_text(text)
    print(text)


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    judged = all("judged" in row for row in report["energy"].values())
    lines = [
        "| genre | held-out songs | real KE (torso lengths²/s²) | generated KE | ratio | boundary step |"
        + (" judged as its genre: real | generated |" if judged else ""),
        "|---" * (8 if judged else 6) + "|",
    ]
    for genre, row in report["energy"].items():
        ratio = row["generated"] / row["real"]
        seam = f"{row['boundary']:.2f}" if "boundary" in row else "-"
        lines.append(
            f"| {genre} | {row['songs']:.0f} | {row['real']:.3g} | {row['generated']:.3g} | {ratio:.2f} | {seam} |"
            + (f" {row['judged_real']:.2f} | {row['judged']:.2f} |" if judged else "")
        )
    lines += [
        "",
        "| latent edit | original KE | neutral | target | pairs with more energy |"
        + (" judged as target: original | neutral | target |" if judged else ""),
        "|---" * (8 if judged else 5) + "|",
    ]
    for e in report["edits"]:
        votes = [f" {e[f'target_probability_{k}']:.2f} |" for k in ("original", "neutral", "edited")] if judged else []
        lines.append(
            f"| {e['source']} to {e['target']} | {e['original']:.3g} | {e['neutral']:.3g} | {e['edited']:.3g} "
            f"| {e['share_higher'] * e['pairs']:.0f} of {e['pairs']} |" + "".join(votes)
        )
    if judged:
        worth = report["motion_style"]["balanced_accuracy"]
        chance = report["motion_style"]["chance"]
        lines += ["", f"The judge: balanced accuracy {worth:.2f} on held-out units, chance {chance:.2f}."]
    r, s = report["reconstruction"], report["style_cross_validated"]
    lines += [
        "",
        f"DU-VAE, {r['units']:.0f} held-out units: {r['du_vae']:.2f} px; hold-last-pose {r['hold_last_pose']:.2f} px, "
        f"mean pose {r['mean_pose']:.2f} px.",
        "",
        f"Music style, {s['songs']:.0f} songs cross-validated by song: balanced accuracy {s['gru']:.2f} "
        f"(p = {s['gru_p']:.3f}; 95 % of the permutation null below {s['null_95']:.2f}; chance {s['chance']:.2f}); "
        f"logistic regression on the same features {s['logistic']:.2f} (p = {s['logistic_p']:.3f}).",
        "",
    ]
    gan = report["stages"]["mm_gan"]["metrics"]
    last = {k: v for k, v in gan.items() if k.startswith("train/")}
    lines.append("Last GAN losses: " + json.dumps({k[6:]: round(v, 3) for k, v in sorted(last.items())}))
    minutes = {k: round(v["seconds"] / 60, 1) for k, v in report["stages"].items() if "seconds" in v}
    lines.append(f"\nMinutes a stage: {json.dumps(minutes)}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
