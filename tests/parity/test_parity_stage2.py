"""Stage 2 on the recorded batch and noise, through MMGANModule's training step in a Trainer.

Where we differ on purpose, the test asserts ours: the style gradient is taken at one set of weights
(docs/adr/0022-style-gradient-at-one-set-of-weights.md), nothing is stepped without a gradient
(docs/adr/0023-no-step-without-a-gradient.md), and the movement encoder is frozen
(docs/adr/0003-frozen-movement-encoder.md).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from parity_recording import (
    DELTA_RTOL,
    DTYPES,
    NETWORKS,
    PARITY,
    RTOL,
    arrays,
    assert_change,
    assert_close,
    assert_gradients,
    assert_same_step,
    needs_recording,
    numbers,
    original,
    pairs,
    recorded,
    total_norm,
    unchanged,
)  # fmt: skip
from parity_training import Watched, mm_gan, stage2_batch, train_one_batch
from torch import Tensor

from d2m.nets.composition import CompositionNoise
from d2m.nets.losses import weighted_sum
from d2m.original.read import our_name
from d2m.train.modules.mm_gan import MMGANModule

pytestmark = needs_recording

STEPS = numbers("stage2_step.json") if PARITY.is_dir() else {}
#: DTYPE.ZERO_GRAD.ADAM; the key without "adam" is the style gradient at one set of weights.
CASES = [c for c in STEPS if c.endswith("_adam")]
BEFORE_STEPS = [c for c in STEPS if c.endswith("info_gradient_taken_before_any_generator_step")]
#: Our updates, in order, by the reference's phase names.
PHASES = {"D": 0, "G": 1, "info": 2}
METHODS = ("read_real", "reconstruct", "compose", "decode_units")


@pytest.fixture(scope="module")
def run(imported: Path, tmp_path_factory: pytest.TempPathFactory):
    """(dtype, adam) -> what our training step did; both zero_grads of the reference are compared with the same run."""

    @cache
    def one(dtype: str, adam: str) -> tuple[Watched, MMGANModule]:
        batch, noise = stage2_batch()
        module = mm_gan(imported)
        ckpt = imported / "resume/mm_gan/last.ckpt" if adam == "resumed_adam" else None
        root = tmp_path_factory.mktemp("run")
        return train_one_batch(module, batch, noise, dtype, root, ckpt=ckpt, methods=METHODS), module

    return lambda case: one(case.split(".")[0], case.rsplit(".", 1)[1])


@pytest.fixture(scope="module")
def unstepped(imported: Path):
    """dtype -> the module before any update, its style losses and their gradient."""

    @cache
    def one(dtype: str) -> tuple[MMGANModule, dict[str, Tensor], dict[str, Tensor | None]]:
        module = mm_gan(imported).to(DTYPES[dtype])
        batch, noise = stage2_batch(dtype)
        losses = module.style_phase(module.net.read_real(batch["units"], batch["features"], noise), noise)
        weighted_sum(losses, module.style_weights).backward()
        return module, losses, {k: p.grad for k, p in module.named_parameters()}

    return one


def intermediates(watched: Watched, noise: CompositionNoise, unused: Tensor) -> dict[str, Tensor]:
    """Our branches, by the reference's names; ``unused`` is the noise of a sample that no loss reads."""
    real, dance, music = (watched.outputs[name][0] for name in ("read_real", "reconstruct", "compose"))
    z_mov, mov, fake = real.z_mov.reshape(-1), dance.mov.reshape(-1), music.mov.reshape(-1)
    recon = watched.outputs["decode_units"][0]
    return {
        "aud": real.audio, "aud_style": real.style,
        "z_init_mu": real.z_ini.mu, "z_init_logvar": real.z_ini.logvar, "z_init": real.z_ini_samples,
        "z_movement_mus": z_mov.mu, "z_movement_logvars": z_mov.logvar, "z_movements": z_mov.sample(unused),
        "z_dance_mu": dance.z_dan.mu, "z_dance_logvar": dance.z_dan.logvar, "z_dance": dance.z_dan_samples,
        "recon_z_movements_mu": mov.mu, "recon_z_movements_logvar": mov.logvar,
        "recon_z_movements": mov.sample(noise.recon_mov), "recon_stdpSeq": recon.flatten(0, 1),
        "fake_z_dance_mu": music.z_dan.mu, "fake_z_dance_logvar": music.z_dan.logvar,
        "fake_z_dance": music.z_dan_samples,
        "fake_z_movements_mu": fake.mu, "fake_z_movements_logvar": fake.logvar,
        "fake_z_movements": fake.sample(noise.fake_mov.flatten(0, 1)),
        "fake_z_movementSeq": music.mov.parameters_cat(),
    }  # fmt: skip


def reference_losses(module: MMGANModule, watched: Watched, style: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our terms and weights -> the reference's losses, by its names.

    D and style are at the weights before any update, the generator's GAN terms after D's, as recorded. The KLs of the
    music branch are logged there with the weights of the reconstruction's and are in no loss.
    """
    d, g = watched.losses[0], watched.losses[1]
    w = module.g_weights
    term = {k: w[k] * v for k, v in g.items()}
    gan = term["g_mov"] + term["g_dan"]
    info = {k: module.style_weights[k] * v for k, v in style.items()}
    return {
        "loss_dis_true": d["d_mov_real"], "loss_dis_fake": d["d_mov_fake"],
        "loss_zdis_true": d["d_dan_real"], "loss_zdis_fake": d["d_dan_fake"],
        "loss_dis": weighted_sum(d, module.d_weights),
        "loss_kl_z_dance": term["kl_dan"], "loss_kl_fake_z_dance": w["kl_dan"] * g["kl_fake_dan"],
        "loss_kl_z_movement": term["kl_mov"], "loss_kl_fake_z_movements": w["kl_mov"] * g["kl_fake_mov"],
        "loss_l1_z_movement_mu": term["mov_mu"], "loss_l1_z_movement_logvar": term["mov_logvar"],
        "loss_l1_stdpSeq": term["recon"], "loss_gen": gan, "loss": weighted_sum(g, w),
        "loss_info_real": info["style_real"], "loss_info_fake": info["style_fake"],
        "loss_info": info["style_real"] + info["style_fake"],
    }  # fmt: skip


@pairs
def test_parity_stage2_every_intermediate_tensor(run, dtype: str) -> None:
    watched, _ = run(f"{dtype}.resumed_adam")
    _, noise = stage2_batch(dtype)
    unused = torch.from_numpy(arrays("noise_stage2.npz")["eps_z_movement"]).to(DTYPES[dtype])
    ours = intermediates(watched, noise, unused)
    theirs = recorded(arrays("stage2_tensors.npz"), dtype)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert_close(ours[name], value, dtype, name)


@pytest.mark.parametrize("case", CASES)
def test_parity_stage2_every_loss_term(run, unstepped, case: str) -> None:
    watched, module = run(case)
    ours, theirs = reference_losses(module, watched, unstepped(case[:3])[1]), STEPS[case]["losses"]
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert float(ours[name].detach()) == pytest.approx(value, rel=RTOL[case[:3]], abs=0), name


@pytest.mark.parametrize("phase", ["D", "G"])
@pytest.mark.parametrize("case", CASES)
def test_parity_stage2_gradients_before_clipping(run, case: str, phase: str) -> None:
    watched, _ = run(case)
    theirs, gradients = STEPS[case]["phases"][phase]["clip"], watched.gradients[PHASES[phase]]
    assert set(theirs) == set(STEPS[case]["phases"][phase]["stepped"])
    for network, values in theirs.items():
        assert_gradients(gradients, network, values["grads"], case[:3])
        norm = values["total_norm_before_clip"]
        assert total_norm(gradients, network) == pytest.approx(norm, rel=RTOL[case[:3]]), network


@pytest.mark.parametrize("case", BEFORE_STEPS)
def test_parity_stage2_style_gradient_before_any_step(unstepped, case: str) -> None:
    _, _, gradients = unstepped(case[:3])
    assert STEPS[case]
    for network, values in STEPS[case].items():
        assert_gradients(gradients, network, values, case[:3])


def test_parity_stage2_style_gradient_of_the_update_is_that_of_the_stepped_weights(run, imported: Path) -> None:
    """Ours (docs/adr/0022-style-gradient-at-one-set-of-weights.md): what the third update descends is the gradient of
    the style loss where the first two updates left the weights. Checked against finite differences along it."""
    watched, module = run("f64.resumed_adam")
    batch, noise = stage2_batch("f64")
    probe = mm_gan(imported).double()
    probe.load_state_dict(module.state_dict())
    at, gradient = watched.parameters[PHASES["info"]], watched.gradients[PHASES["info"]]
    real = probe.net.read_real(batch["units"], batch["features"], noise)
    # The others still hold the gradients of their own updates and are not stepped.
    stepped = tuple(f"{NETWORKS[n].ours}." for n in ("dance_enc", "audstyle_enc", "dance_reg"))
    direction = {k: g for k, g in gradient.items() if k.startswith(stepped)}
    assert all(g is not None for g in direction.values())

    @torch.no_grad()
    def loss(offset: float) -> float:
        for k, p in probe.named_parameters():
            p.copy_(at[k] + offset * direction[k] if k in direction else at[k])
        return float(weighted_sum(probe.style_phase(real, noise), probe.style_weights))

    slope = sum(float(g.square().sum()) for g in direction.values())
    h = 1e-6 / slope**0.5
    assert (loss(h) - loss(-h)) / (2 * h) == pytest.approx(slope, rel=1e-5)
    logged = float(weighted_sum(watched.losses[PHASES["info"]], module.style_weights))
    assert logged == pytest.approx(loss(0.0), rel=1e-12)


# The recorded update is float32's too, but its changes are only told in float64 (DELTA_RTOL).
RESUMED = [c for c in CASES if c.endswith("resumed_adam") and c[:3] in DELTA_RTOL]


@pytest.mark.parametrize("phase", ["D", "G"])
@pytest.mark.parametrize("case", RESUMED)
def test_parity_stage2_parameter_change_of_the_d_and_g_updates(run, case: str, phase: str) -> None:
    watched, _ = run(case)
    theirs = STEPS[case]["phases"][phase]
    change = watched.change(PHASES[phase], PHASES[phase] + 1)
    for network, values in theirs["delta"].items():
        assert_change(change, network, values, case[:3])
        if network not in theirs["stepped"]:
            assert unchanged(change, network), network


@pytest.mark.parametrize("case", RESUMED)
def test_parity_stage2_parameter_change_of_the_whole_batch(run, case: str) -> None:
    """Equal where the style update has no part in it and, for the unit decoder, where the reference does not step it a
    second time without a gradient (its zero_grad of today, "modern_set_to_none")."""
    watched, _ = run(case)
    total, theirs = watched.change(), STEPS[case]["delta_total"]
    style = {n for n in STEPS[case]["phases"]["info"]["stepped"]}
    encoders = style - {"stdp_dec"}
    assert encoders == {"dance_enc", "audstyle_enc", "dance_reg"}
    for network, values in theirs.items():
        if network in encoders or (network == "stdp_dec" and "legacy_zero_grad" in case):
            continue
        assert_change(total, network, values, case[:3])


@pytest.mark.parametrize("case", CASES)
def test_parity_stage2_style_update_steps_encoders_and_regressor_only(run, case: str) -> None:
    """Ours (docs/adr/0023-no-step-without-a-gradient.md): the unit decoder rests in the style update, where the
    reference of torch 1 stepped it on a gradient of zeros, by momentum alone."""
    watched, _ = run(case)
    change = watched.change(PHASES["info"])
    moved = {
        n for n in NETWORKS if any(k.startswith(f"{NETWORKS[n].ours}.") for k in change) and not unchanged(change, n)
    }
    assert moved == {"dance_enc", "audstyle_enc", "dance_reg"}
    reference = STEPS[case]["phases"]["info"]["delta"]["stdp_dec"]
    if "legacy_zero_grad" in case and case.endswith("resumed_adam"):
        assert (reference["l2"] if isinstance(reference, dict) else reference) > 0


@pytest.mark.parametrize("case", CASES)
def test_parity_stage2_frozen_networks_take_no_gradient(run, case: str) -> None:
    """Ours (docs/adr/0003-frozen-movement-encoder.md): the reference computes a gradient of the movement encoder and
    never steps it; we compute none. Neither moves it, nor the initial-pose encoder, nor the style."""
    watched, module = run(case)
    change = watched.change()
    assert any(v is not None for v in STEPS[case]["movement_enc_grad_after_but_never_stepped"].values())
    for network in ("movement_enc", "initp_enc", "aud_enc"):
        values = STEPS[case]["delta_total"][network]
        assert (values["l2"] if isinstance(values, dict) else values) == 0
        assert unchanged(change, network)
        assert all(p.grad is None for p in module.get_submodule(NETWORKS[network].ours).parameters())


def test_parity_stage2_resumed_checkpoint_counts_and_steps_as_the_reference(run, imported: Path) -> None:
    """One float32 batch after `OUT/resume/mm_gan/last.ckpt` is `Stage2_after.ckpt`, where our update is the same."""
    before, after = original("Stage2.ckpt"), original("Stage2_after.ckpt")
    watched, _ = run("f32.resumed_adam")
    assert watched.batch_count == before["total_it"] == after["total_it"] - 1
    for network in ("danceAud_dis", "zdance_dis", "dance_dec", "movement_enc"):
        assert_same_step(watched.parameters[-1], network, before, after)
    # Our style gradient is another one (ADR 0022), though not far from it.
    for network in ("dance_enc", "audstyle_enc", "dance_reg"):
        name = NETWORKS[network]
        theirs = torch.cat([(v - before[network][k]).flatten() for k, v in after[network].items()])
        keys = [our_name(name, k) for k in after[network]]
        ours = torch.cat([(watched.parameters[-1][k] - watched.parameters[0][k]).flatten() for k in keys])
        assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.9
