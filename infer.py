"""Dance to songs with a trained bundle; see conf/infer.yaml or ``python infer.py --help``."""

import sys
from pathlib import Path

from d2m.command_line import check_types, prepare_overrides, run

HELP = """Dance to songs with a trained bundle.

  python infer.py bundle=DIR audio=FILE|DIR|GLOB out=DIR [seed=0] [warp=true] [video=true]
                  [edit=mean_shift edit.source=GENRE edit.target=GENRE edit.strength=1.0] [z_dan=FILE.npy]
                  [edit=boundary|erasure|transport edit.latents=FILE.npz ...]  fitted on songs (d2m.study extract)
                  [edit=optimise edit.steps=100 edit.weights.content=0.5 ...]  held by the original choreography
                  [edit.file=DIR]  a direction fitted before (d2m.study fit)
                  [edit.schedule=[[0,0],[30,1]]]  strength over the song: seconds, strength

Writes NAME.npz (poses, beats, z_dan), NAME.mp4 (with the song's sound) and NAME.json for every song.
"""


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(HELP)
        return
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from d2m.errors import D2MError

    overrides = prepare_overrides(sys.argv[1:])
    with initialize_config_dir(str(Path(__file__).parent.resolve() / "conf"), version_base="1.3"):
        groups = [o for o in overrides if o.startswith("edit=")]
        defaults, cfg = compose("infer", groups), compose("infer", overrides)
    missing = [k for k in ("bundle", "audio", "out") if OmegaConf.is_missing(cfg, k)]
    if missing:
        raise D2MError(f"give {' '.join(f'{k}=...' for k in missing)}; python infer.py --help shows all")
    keys = ("seed", "warp", "video", "edit.strength")
    check_types({k: OmegaConf.select(cfg, k) for k in keys}, {k: OmegaConf.select(defaults, k) for k in keys})

    from d2m.inference import run as infer

    done = infer(cfg)
    print(f"{len(done)} {'dance' if len(done) == 1 else 'dances'} in {cfg.out}")


if __name__ == "__main__":
    run(main)
