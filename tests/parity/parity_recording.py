"""The recording of the reference that the parity tests compare with, and how numbers are compared.

It lies in $D2M_PARITY_DIR, by default `../shared/parity` beside the repository; it is not part of the project. All
sizes are read from its files. Where the folder is there, no test skips: a file that is missing fails its tests.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from d2m.original.names import STAGE1_NETWORKS, STAGE2_NETWORKS, STYLE_NETWORK, NetworkName
from d2m.original.read import our_name

PARITY = Path(os.environ.get("D2M_PARITY_DIR") or Path(__file__).resolve().parents[2].parent / "shared/parity")
needs_recording = pytest.mark.skipif(not PARITY.is_dir(), reason=f"no recording at {PARITY} (set D2M_PARITY_DIR)")

DTYPES = {"f32": torch.float32, "f64": torch.float64}
#: The tolerances of the recording's README: float32 depends on thread count and BLAS, float64 hardly.
RTOL = {"f32": 1e-4, "f64": 1e-9}
#: Parameter changes: Adam divides by the square root of small moments.
DELTA_RTOL = {"f64": 1e-6}
#: A tensor's gradient is no more exact than this share of its network's: what cancels in it is of that size.
EPS = {"f32": 1e-6, "f64": 1e-14}

#: The reference's networks by its names; aud_enc is what it calls the style network inside stage 2.
NETWORKS: dict[str, NetworkName] = {**STAGE1_NETWORKS, **STAGE2_NETWORKS, "aud_enc": STYLE_NETWORK}

pairs = pytest.mark.parametrize("dtype", ["f64", "f32"])


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(PARITY / name, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def numbers(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((PARITY / name).read_text())
    return content


def original(name: str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(PARITY / name, weights_only=True)
    return content


def recorded(data: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """The outputs of one precision, by name."""
    found = {k.removeprefix(f"{dtype}."): v for k, v in data.items() if k.startswith(f"{dtype}.")}
    assert found, f"the recording has no {dtype} arrays"
    return found


def as_tensors(data: dict[str, np.ndarray], dtype: str) -> dict[str, Tensor]:
    """Float arrays in one precision (the reference cast its float32 inputs), integers as they are."""
    out = {k: torch.from_numpy(v) for k, v in data.items()}
    return {k: v.to(DTYPES[dtype]) if v.is_floating_point() else v for k, v in out.items()}


def assert_close(ours: Tensor, theirs: np.ndarray, dtype: str, name: str) -> None:
    """Within rtol of every element; one near zero, where sums cancel, within rtol of its tensor's size."""
    got = ours.detach().numpy()
    assert got.shape == theirs.shape and ours.dtype == DTYPES[dtype], f"{name}: {got.shape} {ours.dtype}"
    size = float(np.sqrt(np.mean(np.square(theirs, dtype=np.float64)))) if theirs.size else 0.0
    np.testing.assert_allclose(got, theirs, rtol=RTOL[dtype], atol=RTOL[dtype] * size, err_msg=name)


def assert_summary(ours: Tensor | None, theirs: list[float] | None, rtol: float, floor: float, name: str) -> None:
    """A tensor against its recorded [l2 norm, signed sum]; the sum cancels, so it is held to what the norm allows."""
    if theirs is None:
        assert ours is None, f"{name}: the reference has no gradient here"
        return
    assert ours is not None, f"{name}: no gradient"
    l2, total = theirs
    x = ours.detach().double()
    bound = rtol * l2 + floor
    assert abs(float(x.norm()) - l2) <= bound, f"{name}: norm {float(x.norm())}, recorded {l2}"
    assert abs(float(x.sum()) - total) <= bound * x.numel() ** 0.5, f"{name}: sum {float(x.sum())}, recorded {total}"


def assert_gradients(ours: dict[str, Tensor | None], network: str, theirs: dict[str, Any], dtype: str) -> None:
    """A network's gradients, tensor by tensor: all of ours must be recorded and the other way round."""
    name = NETWORKS[network]
    mine = {k: v for k, v in ours.items() if k.startswith(name.ours + ".")}
    assert mine.keys() == {our_name(name, k) for k in theirs}, network
    whole = sum(v[0] ** 2 for v in theirs.values() if v is not None) ** 0.5
    for tensor, values in theirs.items():
        assert_summary(
            mine[our_name(name, tensor)], values, RTOL[dtype], EPS[dtype] * whole, f"gradient of {network}.{tensor}"
        )


def total_norm(ours: dict[str, Tensor | None], network: str) -> float:
    """The norm that clipping sees, in the gradients' own precision, as torch sums it."""
    prefix = NETWORKS[network].ours + "."
    parts = [torch.linalg.vector_norm(v) for k, v in ours.items() if k.startswith(prefix) and v is not None]
    return float(torch.linalg.vector_norm(torch.stack(parts))) if parts else 0.0


def assert_change(ours: dict[str, Tensor], network: str, theirs: dict[str, Any] | float, dtype: str) -> None:
    """A network's parameter change: the whole norm and every tensor's [l2, sum]."""
    name = NETWORKS[network]
    mine = {k: v for k, v in ours.items() if k.startswith(name.ours + ".")}
    rtol = DELTA_RTOL[dtype]
    whole = theirs["l2"] if isinstance(theirs, dict) else theirs
    norm = float(torch.stack([v.double().square().sum() for v in mine.values()]).sum().sqrt())
    assert norm == pytest.approx(whole, rel=rtol, abs=EPS[dtype]), network
    for tensor, values in (theirs["tensors"] if isinstance(theirs, dict) else {}).items():
        change = mine[our_name(name, tensor)]
        assert_summary(change, values, rtol, EPS[dtype] * max(whole, 1.0), f"change of {network}.{tensor}")


def unchanged(changes: dict[str, Tensor], network: str) -> bool:
    prefix = NETWORKS[network].ours + "."
    return all(not bool(v.any()) for k, v in changes.items() if k.startswith(prefix))


def assert_same_step(ours: dict[str, Tensor], network: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """A network's float32 parameters after an update against the recorded checkpoint, measured on the step taken.

    Entries whose moments are all but zero are ill-conditioned in float32, so the whole step is compared: within 1 % of
    its norm, and what rounding the parameters themselves leaves.
    """
    name = NETWORKS[network]
    step = torch.cat([(after[network][k].double() - v.double()).flatten() for k, v in before[network].items()])
    mine = torch.cat([(ours[our_name(name, k)].double() - v.double()).flatten() for k, v in before[network].items()])
    size = float(torch.stack([v.double().square().sum() for v in before[network].values()]).sum().sqrt())
    error = float((mine - step).norm())
    assert error <= 1e-2 * float(step.norm()) + 1e-7 * size, f"{network}: off by {error} of {float(step.norm())}"
