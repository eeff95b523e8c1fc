"""The optimiser on problems whose answer is known, and on tiny random networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from d2m.dance.generator import DanceGenerator
from d2m.edits.optimise import WEIGHTS, GaussianPrior, beat_energy, content_loss, optimise
from d2m.edits.optimised_dance import DanceObjective, OptimisedEdit, Settings
from d2m.nets.motion_style import MotionStyle
from d2m.nets.sizes import MotionSizes

CENTRE = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])


def pulls(z: Tensor) -> dict[str, Tensor]:
    """Towards CENTRE and towards 0: the optimum of w (z - c)^2 + v z^2 is w c / (w + v)."""
    return {"target": (z - CENTRE).square().sum((1, 2)), "content": z.square().sum((1, 2))}


def test_the_optimum_of_a_quadratic_is_found() -> None:
    weights = {"target": 3.0, "content": 1.0}
    found = optimise(torch.zeros(4, 2, 3), pulls, weights, steps=500, tolerance=0.0, patience=200)
    torch.testing.assert_close(found.z, (0.75 * CENTRE).expand(4, 2, 3), atol=2e-3, rtol=0)
    total = 3 * found.history["target"] + found.history["content"]
    assert total.shape[1] == 4 and total[-1].max() < total[0].min()
    torch.testing.assert_close(found.terms["target"], pulls(found.z)["target"])


def test_no_step_is_longer_than_the_rate_and_a_song_stops_at_its_optimum() -> None:
    seen: list[Tensor] = []

    def watched(z: Tensor) -> dict[str, Tensor]:
        seen.append(z.detach().clone())
        return pulls(z)

    start = torch.stack([torch.full((2, 3), 9.0), 0.5 * CENTRE])
    found = optimise(start, watched, {"target": 1.0, "content": 1.0}, steps=80, rate=0.1, patience=5)
    moves = torch.stack(seen).diff(dim=0).square().mean(-1).sqrt()
    assert moves.max() <= 0.1 + 1e-6
    assert found.steps[1] <= 6 and found.steps[0] > 20
    assert torch.equal(found.z[1], start[1])  # it could not be bettered, so it was not changed


def test_no_song_ends_worse_than_it_began() -> None:
    def cliff(z: Tensor) -> dict[str, Tensor]:
        mean = z.mean((1, 2))
        return {"target": torch.where(mean < 0.1, -mean, torch.full_like(mean, torch.nan))}

    found = optimise(torch.zeros(2, 1, 3), cliff, {"target": 1.0}, steps=30, rate=0.03)
    assert bool((found.z.mean((1, 2)) < 0.1).all()) and bool((found.terms["target"] < 0).all())


def test_weights_and_terms_have_the_same_names() -> None:
    with pytest.raises(KeyError, match="contnet"):
        optimise(torch.zeros(1, 2, 3), pulls, {"target": 1.0, "contnet": 1.0})
    with pytest.raises(ValueError, match="steps"):
        optimise(torch.zeros(1, 2, 3), pulls, {"target": 1.0, "content": 1.0}, steps=-1)


def test_the_prior_is_the_mahalanobis_distance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 3
    prior = GaussianPrior.fit(x)
    z = rng.normal(size=(7, 5))
    cov = prior.floor * np.eye(5) + prior.basis.numpy().T @ np.diag(prior.extra.numpy()) @ prior.basis.numpy()
    expected = np.einsum("ni,ij,nj->n", z - x.mean(0), np.linalg.inv(cov), z - x.mean(0)) / 5
    np.testing.assert_allclose(prior(torch.from_numpy(z)), expected, rtol=1e-3)
    assert float(prior(torch.from_numpy(x)).mean()) == pytest.approx(1, rel=0.35)
    torch.testing.assert_close(GaussianPrior.standard(5)(torch.ones(2, 5)), torch.ones(2))
    with pytest.raises(ValueError, match="two"):
        GaussianPrior.fit(x[:1])


def test_a_dance_that_stops_on_its_beats_has_no_beat_energy() -> None:
    # Position is the integral of a speed that vanishes on frames 3 + 8 k, and of one that peaks there.
    t = torch.arange(96) - 3
    stops = (t / 8 * 2 * torch.pi).sub(torch.sin(t / 8 * 2 * torch.pi))[None, :, None].expand(2, 96, 28)
    peaks = (t / 8 * 2 * torch.pi).add(torch.sin(t / 8 * 2 * torch.pi))[None, :, None].expand(2, 96, 28)
    assert float(beat_energy(stops).max()) < 0.1 and float(beat_energy(peaks).min()) > 2
    assert torch.equal(beat_energy(torch.zeros(1, 64, 28)), torch.zeros(1))


def test_content_is_zero_for_the_same_dance_and_feels_position_and_speed() -> None:
    poses = torch.randn(2, 64, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(content_loss(poses, poses), torch.zeros(2))
    torch.testing.assert_close(content_loss(poses + 0.5, poses), torch.full((2,), 0.5))


# --- through the decoders ------------------------------------------------------------------------------------


@pytest.fixture
def generator(tiny_bundle: Path) -> DanceGenerator:
    """Random networks with a random motion classifier, loud enough to have an opinion."""
    g = DanceGenerator.load(tiny_bundle)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        g.motion_style = MotionStyle(MotionSizes(3, 8)).eval()
    with torch.no_grad():
        for p in g.motion_style.parameters():
            p.mul_(2)
    g.motion_style.requires_grad_(False)
    g.motion_style_held_out = {"balanced_accuracy": 0.5}
    return g


def latents(b: int, n: int = 2) -> Tensor:
    return torch.randn(b, n, 8, generator=torch.Generator().manual_seed(3))


def objective(g: DanceGenerator, z: Tensor, target: str = "groove", **options: object) -> DanceObjective:
    noise = g.draw_noise(z.shape[1], torch.Generator().manual_seed(5), max_draws=1)
    noise = type(noise)(*(getattr(noise, k).expand(len(z), *(-1,) * (getattr(noise, k).ndim - 1))
                          for k in ("audio", "z_dan", "z_mov", "z_ini")))  # fmt: skip
    return DanceObjective(g, z, noise, target, Settings(**options))  # type: ignore[arg-type]


def test_the_differentiable_dance_is_the_danced_one(generator: DanceGenerator) -> None:
    z, noise = latents(1, 3), generator.draw_noise(3, torch.Generator().manual_seed(5), max_draws=1)
    torch.testing.assert_close(generator.dance(z, noise), generator.choreograph(z[:, :, None], noise).poses)


def test_the_gradient_reaches_every_latent_and_no_weight_changes(generator: DanceGenerator) -> None:
    before = {k: v.clone() for m in (generator.net, generator.motion_style) for k, v in m.state_dict().items()}
    z = latents(2)
    start = z + 0.5
    found = objective(generator, z, steps=5).optimise(start)
    assert bool((found.z != start).any(-1).all())
    after = {k: v for m in (generator.net, generator.motion_style) for k, v in m.state_dict().items()}
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.grad is None for m in (generator.net, generator.motion_style) for p in m.parameters())


def test_a_batch_is_the_same_as_one_by_one_and_again(generator: DanceGenerator) -> None:
    z = latents(3)
    batch = objective(generator, z, steps=12).optimise(z)
    again = objective(generator, z, steps=12).optimise(z)
    assert torch.equal(batch.z, again.z)
    for i in range(3):
        one = objective(generator, z[i : i + 1], steps=12).optimise(z[i : i + 1])
        torch.testing.assert_close(one.z[0], batch.z[i], atol=1e-3, rtol=1e-3)
        assert one.steps[0] == batch.steps[i]


def test_content_holds_the_choreography(generator: DanceGenerator) -> None:
    z = latents(2)
    free, held = (
        objective(generator, z, steps=25, weights={**WEIGHTS, "content": w, "prior": 0.0, "beat": 0.0})
        for w in (0.0, 100.0)
    )
    start = z + 0.5  # arithmetic's result, away from the original
    a, b = free.optimise(start), held.optimise(start)
    assert bool((b.terms["content"] < 0.5 * a.terms["content"]).all())
    assert bool((a.terms["target"] < b.terms["target"]).all())
    assert bool((a.terms["target"] < free.terms(start)["target"]).all())


def test_strength_zero_optimises_nothing_and_one_is_what_was_found(generator: DanceGenerator) -> None:
    edit = OptimisedEdit("drive", "groove", steps=5)
    z = latents(1, 3)[0].numpy()
    noise = generator.draw_noise(3, torch.Generator().manual_seed(5), max_draws=1)
    none = edit.for_dance(generator, noise)
    assert np.array_equal(none.transform(z, 0.0), z) and none.facts["steps"] == 0 and "optimised" not in none.facts
    whole, part = edit.for_dance(generator, noise), edit.for_dance(generator, noise)
    one, mixed = whole.transform(z, 1.0), part.transform(z, np.array([0.0, 1.0, 0.5]))
    assert np.array_equal(mixed[0], z[0]) and np.array_equal(mixed[1], one[1])
    np.testing.assert_allclose(mixed[2], 0.5 * (z[2] + one[2]), atol=1e-6)
    facts = whole.facts
    assert facts["optimised"]["terms"].keys() == WEIGHTS.keys() and facts["original"]["terms"]["content"] == 0
    assert facts["motion_classifier_held_out"] == {"balanced_accuracy": 0.5}
    assert {"guide", "judge"} == facts["arithmetic"]["target_probability"].keys()
    assert len(facts["history"]["target"]) == facts["steps"] + 1
