"""The test phase: an imported bundle dances what the reference danced, three calls in a chain, noise as recorded."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from parity_recording import DTYPES, arrays, as_tensors, assert_close, needs_recording, pairs, recorded
from torch import Tensor

from d2m.dance.generator import DanceGenerator
from d2m.dance.lines import motion
from d2m.dance.noise import DanceNoise

pytestmark = needs_recording


def _calls(data: dict[str, np.ndarray]) -> list[str]:
    found = {m[1] for k in data if (m := re.match(r"(call\d+)\.", k))}
    return sorted(found, key=lambda c: int(c[4:]))


def _noise(x: dict[str, Tensor], calls: list[str]) -> DanceNoise:
    """Call after call, one draw each: (1, n, 1, ...)."""
    rows = []
    for c in calls:
        ini = sorted((k for k in x if k.startswith(f"{c}.eps_z_init_")), key=lambda k: int(k.rsplit("_", 1)[1]))
        rows.append(
            (
                x[f"{c}.audstyle_noise"][0], x[f"{c}.eps_fake_z_dance"][0], x[f"{c}.eps_fake_z_movement"],
                torch.cat([x[k] for k in ini]),
            )
        )  # fmt: skip
    return DanceNoise(*(torch.stack(parts)[None, :, None] for parts in zip(*rows, strict=True)))


@pairs
def test_parity_chained_test_phase_calls(imported: Path, dtype: str) -> None:
    """The imported bundle's normaliser is the identity: the recorded features are normalised already."""
    data = arrays("test_phase.npz")
    x, theirs, calls = as_tensors(data, dtype), recorded(data, dtype), _calls(data)
    generator = DanceGenerator.load(imported)
    generator.net.to(DTYPES[dtype])
    noise = _noise(x, calls)
    assert generator.style_mode == "legacy"
    style = generator.style(x["in.aud"][0])
    z = generator.encode_style(style[None], noise)
    dance = generator.choreograph(z.sample, noise, threshold=0.0, first_pose=x["in.initpose"])
    segments = dance.poses[0].chunk(len(calls))
    ours: dict[str, Tensor] = {}
    for call, segment in zip(calls, segments, strict=True):
        units = segment.reshape(data[f"{dtype}.{call}.out"].shape)
        ours |= {f"{call}.out": units, f"{call}.motion": motion(units)}
    assert theirs.keys() <= ours.keys() and len([k for k in theirs if k.endswith(".out")]) == len(calls)
    for name, value in theirs.items():
        assert_close(ours[name], value, dtype, name)
    assert not dance.draws.any() and bool(dance.accepted.all())


@pairs
def test_parity_every_call_on_its_own(imported: Path, dtype: str) -> None:
    """A call from the last pose of the one before gives the same as the chain."""
    data = arrays("test_phase.npz")
    x, calls = as_tensors(data, dtype), _calls(data)
    generator = DanceGenerator.load(imported)
    generator.net.to(DTYPES[dtype])
    pose = x["in.initpose"]
    for call in calls:
        noise = _noise(x, [call])
        z = generator.encode_style(generator.style(x["in.aud"][0])[None], noise)
        dance = generator.choreograph(z.sample, noise, first_pose=pose)
        out = data[f"{dtype}.{call}.out"]
        assert_close(dance.poses[0].reshape(out.shape), out, dtype, call)
        pose = x[f"{dtype}.{call}.out"][-1, -1][None]
