"""How far from the truth is the depth that ``lift=bones`` reads from a picture? See README.md."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from d2m.cli.command_line import run
from d2m.core.errors import D2MError
from d2m.core.progress import bar
from d2m.core.skeleton import JOINTS, LEFT_HIP, RIGHT_HIP
from d2m.export.lift import LIFTS, lift
from d2m.motion.camera import TORSO_CM, centre, project
from d2m.motion.kinematics import torso_length
from experiments.command import arguments

#: Directions from which every dance is seen, degrees.
YAWS = (0.0, 45.0, 90.0)


def seen_and_true(joints: NDArray[np.floating], yaw: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A dance (t, 14, 3) cm -> what a camera sees (t, 14, 2) and how much nearer to it than the hips joints are.

    Depths (t, 14) are in cm of a body whose torso is seen :data:`TORSO_CM` long, as ``lift`` has them.
    """
    centred = centre(joints)
    picture = project(centred, [yaw])[0].astype(np.float64)
    angle = np.deg2rad(yaw)
    depth = np.sin(angle) * centred[..., 0] + np.cos(angle) * centred[..., 2]
    return picture, from_hips(depth) * TORSO_CM / torso_length(picture)


def from_hips(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depths (t, 14) relative to the middle of the hips."""
    return np.asarray(depth - 0.5 * (depth[:, RIGHT_HIP] + depth[:, LEFT_HIP])[:, None], np.float64)


def measure(files: list[Path], fps: float) -> dict[str, NDArray[np.float64]]:
    """Lift -> mean absolute error of depth (14,), cm, over dances and directions."""
    errors: dict[str, list[NDArray[np.float64]]] = {how: [] for how in LIFTS}
    with bar(len(files), "lifting", "dances") as step:
        for file in files:
            with np.load(file) as arrays:
                joints = arrays["joints"].astype(np.float64)
            if joints.ndim != 3 or joints.shape[1:] != (len(JOINTS), 3):
                raise D2MError(f"{file}: joints of shape {joints.shape}; give 3-D dances, (t, {len(JOINTS)}, 3)")
            for yaw in YAWS:
                picture, true = seen_and_true(joints, yaw)
                for how, rows in errors.items():
                    rows.append(np.abs(from_hips(lift(picture, how, fps)[..., 2]) - true).mean(0))
            step()
    return {how: np.mean(rows, 0) for how, rows in errors.items()}


def main(given: list[str]) -> None:
    settings = arguments({"poses": None, "skip_every": 0, "fps": 15.0}, given)
    files = sorted(Path(settings["poses"]).glob("*.npz"))
    if settings["skip_every"]:
        files = [f for i, f in enumerate(files) if i % settings["skip_every"]]
    if not files:
        raise D2MError(f"poses={settings['poses']}: no npz here; give a folder of 3-D dances")
    errors = measure(files, settings["fps"])
    print(f"{len(files)} dances from {len(YAWS)} directions; mean absolute error of depth, cm (torso {TORSO_CM:g} cm)")
    print("| joint | " + " | ".join(LIFTS) + " |\n| --- |" + " --- |" * len(LIFTS))
    for i, joint in enumerate(JOINTS):
        print(f"| {joint.replace('_', ' ')} | " + " | ".join(f"{errors[how][i]:.1f}" for how in LIFTS) + " |")
    print("| mean | " + " | ".join(f"{errors[how].mean():.1f}" for how in LIFTS) + " |")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
