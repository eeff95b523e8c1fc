"""Reads the reference implementation's checkpoints: tensors only, sizes from shapes, every tensor accounted for.

No Python objects are unpickled (``weights_only=True``). Only sizes that no option of the reference changes are assumed
(28 numbers per pose, 30 of style, the MLPs' widths; Lee et al., NeurIPS 2019, appendix).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from d2m.core.errors import D2MError
from d2m.core.skeleton import SEQUENCE_UNITS
from d2m.nets.composition import Composition
from d2m.nets.du_vae import DUVAE
from d2m.nets.mm_gan import Discriminator
from d2m.nets.sizes import Sizes
from d2m.original.names import (
    BATCHES,
    EPOCH,
    OPTIMIZER_PREFIX,
    STAGE1_NETWORKS,
    STAGE1_SIZES,
    STAGE2_NETWORKS,
    STAGE2_SIZES,
    STYLE,
    STYLE_NETWORK,
    STYLE_SIZES,
    NetworkName,
    Places,
)
from d2m.original.tensor_file import load_tensors

Shapes = dict[str, tuple[int, ...]]
_OPTIONS = {"stage1": "stage1=", "stage2": "stage2=", "style": "style="}
_KINDS = {
    "stage1": "a stage-1 checkpoint of the reference",
    "stage2": "a stage-2 checkpoint of the reference",
    "style": "a music style network of the reference",
    "d2m": "a checkpoint of d2m itself (d2m train takes it as it is)",
}


@dataclass(frozen=True)
class Moments:
    """Adam's state for one network: our tensor name -> its moments, and the group's settings (lr, betas, ...)."""

    state: dict[str, dict[str, Any]]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Original:
    """One checkpoint of the reference, checked, with tensors under our names."""

    path: Path
    sizes: dict[str, int]  # those that the file reveals
    state: dict[str, Tensor]
    moments: dict[str, Moments]  # by the reference's network name
    epoch: int  # the last finished epoch, counted from 0
    batches: int


def kind_of(content: Mapping[str, Any]) -> str:
    """Which file this is: "stage1", "stage2", "style", "d2m" or "other"."""
    if "pytorch-lightning_version" in content:
        return "d2m"
    for kind, own in (("stage1", ("initp_enc", "initp_dec")), ("stage2", ("dance_enc", "dance_dec", "audstyle_enc"))):
        if any(isinstance(content.get(name), Mapping) for name in own):
            return kind
    if any(isinstance(v, Tensor) for v in content.values()) and any(k.startswith("classifier.") for k in content):
        return "style"
    return "other"


def read_stage1(path: str | Path) -> Original:
    """``Stage1.ckpt`` -> our DU-VAE's tensors, as ``DUVAEModule`` names them.

    Raises:
        D2MError: one line that names the file and the tensor.
    """
    path = Path(path)
    networks, content = _networks(path, "stage1", STAGE1_NETWORKS)
    sizes = _read_sizes(path, networks, STAGE1_SIZES)
    with torch.device("meta"):
        expected = _shapes({"net": DUVAE(_full_sizes(sizes))})
    return _read(path, networks, content, STAGE1_NETWORKS, sizes, expected, "")


def read_stage2(path: str | Path, stage1: Original) -> Original:
    """``Stage2.ckpt`` -> the tensors of our GAN that it holds, as ``MMGANModule`` names them.

    Raises:
        D2MError: as :func:`read_stage1`; also if the sizes differ from those of ``stage1``.
    """
    path = Path(path)
    networks, content = _networks(path, "stage2", STAGE2_NETWORKS)
    sizes = {**stage1.sizes, **_read_sizes(path, networks, STAGE2_SIZES)}
    full = _full_sizes(sizes)
    with torch.device("meta"):
        expected = _shapes(
            {
                "net": Composition(full),
                "movement_discriminator": Discriminator(SEQUENCE_UNITS * 2 * full.z_mov, full.n_features),
                "dance_discriminator": Discriminator(2 * full.z_dan, full.n_features),
            }
        )
    return _read(path, networks, content, STAGE2_NETWORKS, sizes, expected, f" and {stage1.path}")


def read_style(path: str | Path) -> Original:
    """``aud_3cls.ckpt``, for any number of classes -> the music style network's tensors as ``MMGANModule`` names them.

    Raises:
        D2MError: as :func:`read_stage1`.
    """
    path = Path(path)
    content = load_tensors(path)
    _check_kind(path, content, "style")
    names = {STYLE: STYLE_NETWORK}
    networks = {STYLE: _tensors(path, STYLE, content)}
    sizes = _read_sizes(path, networks, STYLE_SIZES)
    with torch.device("meta"):
        expected = _shapes({"net": Composition(_full_sizes(sizes))})
    return _read(path, networks, {}, names, sizes, expected, "")


def _full_sizes(shown: Mapping[str, int]) -> Sizes:
    """Sizes from a file; the others, which its tensors do not reveal, are set to 1."""
    return Sizes.from_dict({**{f.name: 1 for f in fields(Sizes) if f.default is MISSING}, **shown})


def _check_kind(path: Path, content: Mapping[str, Any], asked: str) -> None:
    kind = kind_of(content)
    if kind == asked:
        return
    if kind == "other":
        keys = ", ".join(list(content)[:4]) or "nothing"
        raise D2MError(
            f"{path}: is not {_KINDS[asked]} but belongs to another model (it holds {keys}); check {_OPTIONS[asked]}"
        )
    fix = f"give it as {_OPTIONS[kind]}" if kind in _OPTIONS else f"check {_OPTIONS[asked]}"
    raise D2MError(f"{path}: is {_KINDS[kind]}, not {_KINDS[asked]}; {fix}")


def _networks(
    path: Path, kind: str, names: Mapping[str, NetworkName]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The file's state dicts by network, and the whole content."""
    content = load_tensors(path)
    _check_kind(path, content, kind)
    missing = [n for n in names if not isinstance(content.get(n), Mapping)]
    if missing:
        raise D2MError(f"{path}: network '{missing[0]}' is missing; copy the file again from its source")
    known = {*names, *(OPTIMIZER_PREFIX + n for n in names), EPOCH, BATCHES}
    extra = sorted(content.keys() - known)
    if extra:
        raise D2MError(f"{path}: '{extra[0]}' is not part of {_KINDS[kind]}; give an unmodified file of the reference")
    return {n: _tensors(path, n, content[n]) for n in names}, content


def _tensors(path: Path, network: str, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """A network's float tensors as float32."""
    out = {}
    for name, value in state.items():
        full = _full(network, name)
        plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not plain or not value.is_floating_point():
            raise D2MError(f"{path}: '{full}' is not a tensor of real numbers; copy the file again from its source")
        if not bool(value.isfinite().all()):
            raise D2MError(f"{path}: tensor '{full}' contains NaN or infinite numbers; use another snapshot")
        out[name] = value.detach().to(torch.float32).contiguous()
    return out


def _full(network: str, tensor: str) -> str:
    return f"{network}.{tensor}" if network else tensor


def _read_sizes(path: Path, networks: Mapping[str, dict[str, Tensor]], wanted: Mapping[str, Places]) -> dict[str, int]:
    """Every size, as the majority of its places reveal it.

    Raises:
        D2MError: all its places are missing, or they disagree without a majority.
    """
    sizes = {}
    for size, places in wanted.items():
        seen = {
            _full(network, name): int(networks[network][name].shape[axis])
            for network, name, axis in places
            if name in networks[network] and networks[network][name].ndim > axis
        }
        if not seen:
            raise D2MError(
                f"{path}: tensor '{_full(*places[0][:2])}' is missing or has the wrong shape; copy the file again"
            )
        value, count = Counter(seen.values()).most_common(1)[0]
        if (2 * count <= len(seen) and count < len(seen)) or value < 1:
            shown = ", ".join(f"'{name}' says {n}" for name, n in seen.items())
            raise D2MError(f"{path}: tensors do not agree on {size}: {shown}; copy the file again from its source")
        sizes[size] = value
    return sizes


def _shapes(modules: Mapping[str, nn.Module]) -> Shapes:
    return {f"{root}.{k}": tuple(v.shape) for root, m in modules.items() for k, v in m.state_dict().items()}


#: Marks a tensor without a counterpart, so that its name matches none of ours.
_NOWHERE = "?"


def our_name(name: NetworkName, tensor: str) -> str:
    """Our full name, as the LightningModule has it, of a tensor of the reference's network."""
    for theirs, renamed in name.prefixes:
        if tensor.startswith(theirs):
            return f"{name.ours}.{renamed}{tensor[len(theirs) :]}"
    return f"{name.ours}.{_NOWHERE}{tensor}"


def their_name(network: str, name: NetworkName, tensor: str) -> str:
    """The reference's full name of one of our tensors (as the LightningModule names it)."""
    rest = tensor[len(name.ours) + 1 :]
    for theirs, prefix in name.prefixes:
        if rest.startswith(prefix):
            return _full(network, theirs + rest[len(prefix) :])
    return _full(network, rest.removeprefix(_NOWHERE))


def _read(
    path: Path,
    networks: Mapping[str, dict[str, Tensor]],
    content: Mapping[str, Any],
    names: Mapping[str, NetworkName],
    sizes: dict[str, int],
    expected: Shapes,
    beside: str,
) -> Original:
    """Rename the tensors, check every shape, and read Adam's moments."""
    state: dict[str, Tensor] = {}
    moments = {}
    wrong = []
    for network, name in names.items():
        given = {our_name(name, k): v for k, v in networks[network].items()}
        wanted = {k: s for k, s in expected.items() if k.startswith(name.ours + ".")}
        for k in sorted(given.keys() | wanted.keys()):
            has, asks = (tuple(given[k].shape) if k in given else None), wanted.get(k)
            if has != asks:
                wrong.append((their_name(network, name, k), has, asks))
        state |= given
    if wrong:
        raise D2MError(f"{path}: {_mismatch(*wrong[0], beside)}" + (f" (and {len(wrong) - 1} more)" * (len(wrong) > 1)))
    for network, name in names.items():
        optimizer = content.get(OPTIMIZER_PREFIX + network)
        if optimizer is not None:
            moments[network] = _moments(path, network, name, networks[network], optimizer)
    return Original(path, sizes, state, moments, _count(path, content, EPOCH), _count(path, content, BATCHES))


def _mismatch(tensor: str, has: tuple[int, ...] | None, asks: tuple[int, ...] | None, beside: str) -> str:
    if has is None:
        return f"tensor '{tensor}' is missing; copy the file again from its source"
    if asks is None:
        hint = "networks with one GRU layer can be imported" if re.search(r"_l[1-9]", tensor) else "it belongs nowhere"
        return f"tensor '{tensor}' {has} is extra: {hint}; give an unmodified file of the reference"
    return f"tensor '{tensor}' has shape {has}, but {asks} fits the other tensors{beside}; give files of one training"


def _count(path: Path, content: Mapping[str, Any], key: str) -> int:
    value = content.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise D2MError(f"{path}: '{key}' is not a count; give an unmodified file of the reference")
    return int(value)


def _moments(path: Path, network: str, name: NetworkName, tensors: Mapping[str, Tensor], optimizer: Any) -> Moments:
    """Convert an Adam state dict to our tensor names. Its parameters have the order of the network's state dict.

    Raises:
        D2MError: its entries do not match the network.
    """
    label = OPTIMIZER_PREFIX + network
    misfit = f"{path}: '{label}' does not fit the network '{network}'"
    try:
        groups, entries = optimizer["param_groups"], optimizer["state"]
        # Old PyTorch numbers parameters by address, newer by position: the order within the groups is valid for both.
        keys = [key for group in groups for key in group["params"]]
        settings = {k: groups[0][k] for k in ("lr", "betas", "eps", "weight_decay") if k in groups[0]}
        torch.optim.Adam([nn.Parameter(torch.zeros(1))], **settings)  # raises if the settings are invalid
        if not all(math.isfinite(v) for k, v in settings.items() if k != "betas"):
            raise ValueError(f"{settings}")
        state = {}
        if len(keys) != len(tensors):
            raise D2MError(f"{misfit}: {len(keys)} parameters, not {len(tensors)}; copy the file again")
        for key, (tensor, value) in zip(keys, tensors.items(), strict=True):
            if key not in entries:
                continue  # never stepped
            entry = entries[key]
            step = torch.as_tensor(entry["step"], dtype=torch.float32).reshape(())
            both = {k: entry[k].detach().to(torch.float32).contiguous() for k in ("exp_avg", "exp_avg_sq")}
            for k, moment in both.items():
                if moment.shape != value.shape:
                    raise D2MError(f"{misfit}: '{k}' of '{tensor}' is {tuple(moment.shape)}, not {tuple(value.shape)}")
                if not bool(moment.isfinite().all()) or (k == "exp_avg_sq" and bool((moment < 0).any())):
                    raise D2MError(
                        f"{misfit}: '{k}' of '{tensor}' holds values that Adam cannot produce; use another copy"
                    )
            if not (bool(step.isfinite()) and float(step) >= 0):
                raise D2MError(f"{misfit}: 'step' of '{tensor}' is not a count; copy the file again")
            state[our_name(name, tensor)] = {"step": step, **both}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as e:
        raise D2MError(f"{misfit}: it is not an Adam state; copy the file again from its source") from e
    return Moments(state, settings)
