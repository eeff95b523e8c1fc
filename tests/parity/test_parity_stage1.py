"""Stage 1 on the recorded batch and noise, through DUVAEModule's training step in a Trainer."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from parity_recording import (
    DELTA_RTOL,
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
)  # fmt: skip
from parity_training import Watched, du_vae, stage1_batch, train_one_batch
from torch import Tensor

from d2m.nets.du_vae import DUVAEOutput
from d2m.original.names import STAGE1_NETWORKS
from d2m.train.modules.du_vae import DUVAEModule

pytestmark = needs_recording

#: FULL.ADAM, e.g. "full_lambda_kl_0.01.resumed_adam" or "annealed_it2.fresh_adam".
CASES = list(numbers("stage1_step.json")) if PARITY.is_dir() else []


@pytest.fixture(scope="module")
def run(imported: Path, tmp_path_factory: pytest.TempPathFactory):
    """A recorded case -> what our training step did, each case once."""

    @cache
    def one(case: str) -> Watched:
        dtype, schedule = case.split(".")[0], case.split(".", 1)[1].rsplit(".", 1)[0]
        batch, noise = stage1_batch()
        options, patch = {}, pytest.MonkeyPatch()
        if full := re.fullmatch(r"full_lambda_kl_(.+)", schedule):
            weight = float(full[1])
            options = {"weights": {"kl_ini": weight, "kl_mov": weight}, "anneal_midpoint": -1e9}
        else:
            step = int(re.fullmatch(r"annealed_it(\d+)", schedule)[1])
            patch.setattr(DUVAEModule, "batch_count", property(lambda self: step))
        ckpt = imported / "resume/du_vae/last.ckpt" if case.endswith("resumed_adam") else None
        with patch.context():
            watched = train_one_batch(
                du_vae(imported, **options), batch, noise, dtype, tmp_path_factory.mktemp("run"),
                ckpt=ckpt, methods=("forward",),
            )  # fmt: skip
        patch.undo()
        return watched

    return one


def reference_losses(losses: dict[str, Tensor], w: dict[str, float]) -> dict[str, Tensor]:
    """Our terms and weights -> the reference's weighted losses, by its names."""
    term = {k: w[k] * v for k, v in losses.items()}
    pose = term["pose"] + term["kl_ini"]
    movement = term["recon"] + term["cross"] + term["shift"] + term["kl_mov"]
    return {
        "loss_kl_z_init": term["kl_ini"], "loss_l1_initp": term["pose"], "loss_initp": pose,
        "loss_kl_z_movement": term["kl_mov"], "loss_l1_stdp": term["recon"], "loss_l1_cross_stdp": term["cross"],
        "loss_dist_z_movement": term["shift"], "loss_movement": movement, "g_loss": pose + movement,
    }  # fmt: skip


def intermediates(out: DUVAEOutput) -> dict[str, Tensor]:
    """Our output, by the reference's names."""
    return {
        "z_init_mus": out.z_ini.mu, "z_init_logvars": out.z_ini.logvar, "z_inits": out.z_ini_samples,
        "z_movement_mus": out.z_mov.mu, "z_movement_logvars": out.z_mov.logvar, "z_movements": out.z_mov_samples,
        "recon_stdpose1": out.recon[0], "recon_stdpose2": out.recon[1],
        "recon_stdpose1_cross": out.cross[0], "recon_stdpose2_cross": out.cross[1],
        "recon_pose1_0": out.first_recon[0], "recon_pose2_0": out.first_recon[1],
        "singleposes": out.singles, "z_single_mus": out.z_single.mu, "z_single_logvars": out.z_single.logvar,
        "recon_singleposes": out.singles_recon,
    }  # fmt: skip


@pairs
def test_parity_stage1_every_intermediate_tensor(run, dtype: str) -> None:
    case = next(c for c in CASES if c.startswith(dtype))
    ours = intermediates(run(case).outputs["forward"][0])
    theirs = recorded(arrays("stage1_tensors.npz"), dtype)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert_close(ours[name], value, dtype, name)


@pytest.mark.parametrize("case", CASES)
def test_parity_stage1_every_loss_term(run, case: str) -> None:
    watched, theirs = run(case), numbers("stage1_step.json")[case]["losses"]
    ours = reference_losses(watched.losses[0], watched.weights[0])
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert float(ours[name]) == pytest.approx(value, rel=RTOL[case[:3]], abs=0), name


@pytest.mark.parametrize("case", CASES)
def test_parity_stage1_gradients_before_clipping(run, case: str) -> None:
    gradients, theirs = run(case).gradients[0], numbers("stage1_step.json")[case]["grads_before_clip"]
    networks = {k: v for k, v in theirs.items() if not k.endswith(".total_norm")}
    assert networks.keys() == STAGE1_NETWORKS.keys()
    for network, values in networks.items():
        assert_gradients(gradients, network, values, case[:3])
    norms = {k.removesuffix(".total_norm"): v for k, v in theirs.items() if k.endswith(".total_norm")}
    for network, norm in norms.items():
        assert total_norm(gradients, network) == pytest.approx(norm, rel=RTOL[case[:3]])


# A fresh Adam's first step is the gradient's sign: entries near zero are ill-conditioned, the resumed one's are not.
@pytest.mark.parametrize("case", [c for c in CASES if c.endswith("resumed_adam") and c[:3] in DELTA_RTOL])
def test_parity_stage1_parameter_change_of_a_resumed_update(run, case: str) -> None:
    change, theirs = run(case).change(), numbers("stage1_step.json")[case]["delta"]
    assert theirs.keys() == STAGE1_NETWORKS.keys()
    for network, values in theirs.items():
        assert_change(change, network, values, case[:3])


def test_parity_stage1_resumed_checkpoint_counts_and_steps_as_the_reference(run, imported: Path) -> None:
    """One float32 batch after `OUT/resume/du_vae/last.ckpt` is `Stage1_after.ckpt`."""
    before, after = original("Stage1.ckpt"), original("Stage1_after.ckpt")
    case = next(c for c in CASES if c.startswith("f32.full") and c.endswith("resumed_adam"))
    watched = run(case)
    assert watched.batch_count == before["total_it"] == after["total_it"] - 1
    for network in STAGE1_NETWORKS:
        assert_same_step(watched.parameters[-1], network, before, after)
