"""Every network of the reference on recorded inputs, and its two-layer decoder, where we deviate."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from parity_recording import DTYPES, arrays, as_tensors, assert_close, needs_recording, pairs, recorded
from parity_training import du_vae, mm_gan
from torch import Tensor

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.du_vae import UnitDecoder

pytestmark = needs_recording


def _heads(name: str, z: DiagonalGaussian) -> dict[str, Tensor]:
    """The reference calls the log-variance head ``std``; it flattens sequences to rows."""
    flat = z.reshape(-1)
    return {f"{name}.mean": flat.mu, f"{name}.std": flat.logvar}


@torch.no_grad()
def _outputs(folder: Path, x: dict[str, Tensor], dtype: str, wanted: set[str]) -> dict[str, Tensor]:
    one, two = du_vae(folder).to(DTYPES[dtype]).eval(), mm_gan(folder).to(DTYPES[dtype]).eval()
    net, style = two.net, two.net.music_style
    out = {
        **_heads("initp_enc", one.net.initial_pose_encoder(x["pose"])),
        "initp_dec": one.net.initial_pose_decoder(x["z_init"]),
        **_heads("movement_enc", one.net.movement_encoder(x["poses"])),
        "movement_enc.feature": one.net.movement_encoder.body(x["poses"]),
        "stdp_dec_stage1": one.net.unit_decoder(x["z_init"], x["z_movement"]),
        "stdp_dec_stage2": net.unit_decoder(x["z_init"], x["z_movement"]),
        **_heads("dance_enc", net.dance_encoder(torch.cat([x["mov_mu"], x["mov_logvar"]], -1))),
        **_heads("dance_dec", net.dance_decoder(x["z_dance"], x["mov_mu"].shape[1])),
        "danceAud_dis": two.movement_discriminator(x["dis_mov"], x["aud_mean"]),
        "zdance_dis": two.dance_discriminator(x["dis_dance"], x["aud_mean"]),
        "dance_reg": net.style_regressor(x["z_dance"]),
        "aud_cls": style(x["aud_seq"]),
        "aud_style": style.style(x["aud_seq"]),
        "aud_style_long": style.style(x["aud_seq_long"]),
        **_heads("audstyle_enc", net.style_to_dance(x["style"], x["audstyle_noise"])),
    }
    for name in wanted:
        if match := re.fullmatch(r"(dance_dec_len(\d+))\.mean", name):
            out |= _heads(match[1], net.dance_decoder(x["z_dance"], int(match[2])))
    return out


@pairs
def test_parity_every_network(imported: Path, dtype: str) -> None:
    data = arrays("networks.npz")
    theirs = recorded(data, dtype)
    inputs = {k.removeprefix("in."): v for k, v in data.items() if k.startswith("in.")}
    ours = _outputs(imported, as_tensors(inputs, dtype), dtype, set(theirs))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert_close(ours[name], value, dtype, name)


@torch.no_grad()
def test_parity_two_layer_decoder_keeps_samples_apart() -> None:
    """Ours is right where the reference mixes layers and batch (docs/adr/0024-layers-of-a-decoder.md)."""
    data = arrays("two_layer_decoder.npz")
    names = {"z2init.0.": "body.initial.", "recurrent.": "body.gru.", "pose_g.": "head."}
    state = {}
    for key in (k.removeprefix("sd.") for k in data if k.startswith("sd.")):
        old = next(p for p in names if key.startswith(p))
        state[names[old] + key.removeprefix(old)] = torch.from_numpy(data[f"sd.{key}"])
    z_ini, z_mov = torch.from_numpy(data["z_init"]), torch.from_numpy(data["z_movement"])
    layers = len([k for k in state if k.startswith("body.gru.weight_hh")])
    hidden = state["head.0.weight"].shape[0]
    net = UnitDecoder(z_ini.shape[1], z_mov.shape[1], hidden, num_layers=layers)
    net.load_state_dict(state, strict=True)

    ours, theirs = net(z_ini, z_mov), data["out_as_original"]
    b, steps = theirs.shape[:2]
    for k in range(b):  # a dance does not depend on what else is in its batch
        alone = net(z_ini[k : k + 1], z_mov[k : k + 1])[0]
        torch.testing.assert_close(alone, ours[k], rtol=1e-5, atol=1e-6)
    assert not np.allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-3)
    # With the reference's reshaping of the initial state, our networks give its numbers.
    mixed = net.body.initial(torch.cat([z_ini, z_mov], -1)).view(layers, b, hidden)
    rows = net.body.gru(z_mov[:, None].expand(-1, steps, -1).contiguous(), mixed)[0]
    assert_close(net.head(rows), theirs, "f32", "two_layer_decoder")


def test_parity_sizes_and_shapes_are_those_of_the_options(imported: Path) -> None:
    """Sizes were read from shapes; the recorded options must agree."""
    import json

    from parity_recording import NETWORKS, numbers

    from d2m.original.read import our_name

    options = numbers("options.json")
    sizes = json.loads((imported / "config.json").read_text())["sizes"]
    expected = {
        "z_ini": "dim_z_init", "z_mov": "dim_z_movement", "z_dan": "dim_z_dance",
        "movement_hidden": "movement_enc_hidden_size", "unit_hidden": "stdp_dec_hidden_size",
        "dance_encoder_hidden": "dance_enc_hidden_size", "dance_decoder_hidden": "dance_dec_hidden_size",
    }  # fmt: skip
    assert {k: sizes[k] for k in expected} == {k: options["stage2"][v] for k, v in expected.items()}
    state = {**du_vae(imported).state_dict(), **mm_gan(imported).state_dict()}
    for network, shapes in options["shapes"].items():
        name = NETWORKS[network]
        mine = {k: list(v.shape) for k, v in state.items() if k.startswith(name.ours + ".")}
        assert mine == {our_name(name, k): list(s) for k, s in shapes.items()}
        assert sum(int(np.prod(s)) for s in mine.values()) == options["params"][network]
