"""Stage 2's own terms and updates: the learned prior, alignment, what is computed, and a dance latent that opens."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import torch

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.composition import CompositionNoise, RealUnits
from d2m.nets.losses import mm_gan
from d2m.nets.losses.mm_gan import GANStep, Inferred
from d2m.nets.mm_gan import NoiseEncoder, StyleToDance
from d2m.train.modules.mm_gan import MMGANModule
from d2m.train.steps import frozen

SIZES = {
    "n_genres": 3, "z_ini": 4, "z_mov": 6, "z_dan": 8, "movement_hidden": 16, "unit_hidden": 16,
    "dance_encoder_hidden": 16, "dance_decoder_hidden": 16,
}  # fmt: skip


def module(**options: object) -> MMGANModule:
    torch.manual_seed(0)
    return MMGANModule(SIZES, **options)  # type: ignore[arg-type]


def batch(m: MMGANModule, b: int = 5) -> tuple[RealUnits, CompositionNoise]:
    generator = torch.Generator().manual_seed(1)
    units = torch.randn(b, 3, 32, 28, generator=generator)
    noise = m.net.draw_noise(units, generator)
    return m.net.read_real(units, torch.randn(b, 30, 28, generator=generator), noise), noise


def reached(m: MMGANModule) -> set[str]:
    """Networks that hold a gradient."""
    names = (
        n.removeprefix("net.").split(".")[0] for n, p in m.named_parameters() if p.grad is not None and p.grad.any()
    )
    return set(names)


# --- the learned prior ---------------------------------------------------------------------------------------


def test_the_learned_prior_follows_the_dance_and_never_the_other_way() -> None:
    m = module(weights={"prior_dan": 1.0})
    m.generator_phase(*batch(m))["prior_dan"].backward()
    assert reached(m) == {"style_to_dance", "noise_encoder"}


def step_of(dance: DiagonalGaussian, inferred: Inferred) -> GANStep:
    return GANStep(None, SimpleNamespace(z_dan=dance), None, None, None, inferred=inferred)  # type: ignore[arg-type]


def test_the_learned_prior_is_the_kl_and_the_noise_encoders_error() -> None:
    """In one dimension, z = a n + c + s e: the bound's gap is known, and is least for the noise's true posterior."""
    a, c, s2, m, v, rows = 1.2, 0.4, 0.3, 1.0, 0.5, 20_000
    ones = torch.ones(rows, 1, dtype=torch.float64)
    dance = DiagonalGaussian(m * ones, math.log(v) * ones)
    eps = torch.special.ndtri((torch.arange(rows, dtype=torch.float64)[:, None] + 0.5) / rows)  # evenly in probability

    def bound(mean: float, variance: float) -> float:
        noise = DiagonalGaussian(mean * ones, math.log(variance) * ones)
        z_dan = DiagonalGaussian(a * noise.sample(eps) + c, math.log(s2) * ones)
        return float(mm_gan.prior_dan(step_of(dance, Inferred(noise, z_dan))))

    total = a * a + s2
    kl = 0.5 * (math.log(total / v) + v / total + (m - c) ** 2 / total - 1)
    best = a * (m - c) / total, s2 / total
    assert bound(*best) == pytest.approx(kl + v * a * a / (2 * s2 * total), rel=2e-3)
    for mean, variance in ((best[0] + 0.3, best[1]), (best[0], 2 * best[1]), (0.0, 1.0)):
        assert bound(mean, variance) > bound(*best) + 0.02 > kl


def test_the_learned_prior_learns_how_dances_vary_together() -> None:
    """Dances of one style that lie along two directions: a diagonal Gaussian of the right moments has none of it."""
    torch.manual_seed(0)
    d, style = 8, 6
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(d, 2, generator=generator)
    prior, encoder = StyleToDance(d, style), NoiseEncoder(d, style)
    optimizer = torch.optim.Adam([*prior.parameters(), *encoder.parameters()], lr=1e-2)
    given = torch.ones(64, style)
    for _ in range(300):
        mu = 1.0 + torch.randn(64, 2, generator=generator) @ w.T
        dance = DiagonalGaussian(mu, torch.full_like(mu, -4.0))
        behind = encoder(dance.sample(generator=generator), given)
        inferred = Inferred(behind, prior(given, behind.sample(generator=generator)))
        optimizer.zero_grad()
        mm_gan.prior_dan(step_of(dance, inferred)).backward()
        optimizer.step()
    with torch.no_grad():
        many = torch.ones(4000, style)
        drawn = prior(many, torch.randn(4000, style, generator=generator)).sample(generator=generator)
    true = w @ w.T + math.exp(-4.0) * torch.eye(d)
    error = (torch.cov(drawn.T) - true).norm() / true.norm()
    assert error < 0.3 < 0.5 < (true - true.diag().diag()).norm() / true.norm()


def test_the_noise_encoder_is_there_and_steps_only_for_the_prior() -> None:
    paper, ours = module(), module(weights={"prior_dan": 0.1})
    assert paper.noise_encoder is None and ours.noise_encoder is not None
    before = copy.deepcopy(ours.noise_encoder.state_dict())
    with_optimizers(ours).optimize(*batch(ours))
    assert all((v != before[k]).any() for k, v in ours.noise_encoder.state_dict().items() if "weight" in k)


# --- alignment -----------------------------------------------------------------------------------------------


def test_alignment_moves_the_musics_side_alone() -> None:
    m = module(weights={"align": 1.0})
    m.generator_phase(*batch(m))["align"].backward()
    assert reached(m) == {"style_to_dance"}


def aligned(music: torch.Tensor, dance: torch.Tensor, recording: list[int] | None = None) -> torch.Tensor:
    sides = (SimpleNamespace(z_dan=DiagonalGaussian(mu, torch.zeros_like(mu))) for mu in (dance, music))
    held = None if recording is None else torch.tensor(recording)
    return mm_gan.align(GANStep(None, *sides, None, None, recording=held))  # type: ignore[arg-type]


def test_alignment_by_chance_is_the_log_of_the_choices() -> None:
    one = torch.ones(4, 8)
    assert aligned(one, one).item() == pytest.approx(math.log(4))
    # Another sequence of the same dance is no wrong answer.
    assert aligned(one, one, [0, 0, 1, 2]).item() == pytest.approx((2 * math.log(3) + 2 * math.log(4)) / 4)
    assert aligned(torch.eye(4), torch.eye(4)).item() < 1e-3 < 5 < aligned(torch.eye(4), torch.eye(4).roll(1, 0)).item()


def test_alignment_of_one_recording_has_nothing_to_tell() -> None:
    music = torch.randn(3, 8, requires_grad=True)
    loss = aligned(music, torch.randn(3, 8), [5, 5, 5])
    loss.backward()
    assert loss.item() == 0 and music.grad is not None and not music.grad.any()


# --- updates -------------------------------------------------------------------------------------------------


def with_optimizers(m: MMGANModule) -> MMGANModule:
    """Outside of a Trainer."""
    m.trainer = SimpleNamespace(estimated_stepping_batches=10)  # type: ignore[assignment]
    optimizers, _ = m.configure_optimizers()
    m.optimizers = lambda: optimizers  # type: ignore[method-assign, assignment]
    m.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]
    return m


def test_a_shared_forward_pass_changes_no_bit() -> None:
    """At the paper's weights, against the three phases each with its own."""
    shared, apart = with_optimizers(module()), with_optimizers(module())
    real, noise = batch(shared)
    for _ in range(2):
        shared.optimize(real, noise)
        net, (d, encoders, decoders, regressor) = apart.net, apart.optimizers()  # type: ignore[misc]
        discriminators = [apart.movement_discriminator, apart.dance_discriminator]
        both = [net.dance_encoder, net.style_to_dance]
        apart._update(apart.discriminator_phase(real, noise), apart.d_weights, [d], discriminators)
        with frozen(*discriminators):
            losses = apart.generator_phase(real, noise)
            apart._update(losses, apart.g_weights, [encoders, decoders], [*both, net.dance_decoder, net.unit_decoder])
        losses = apart.style_phase(real, noise)
        apart._update(losses, apart.style_weights, [encoders, regressor], [*both, net.style_regressor])
    at, fresh = shared.state_dict(), module().state_dict()
    assert all(torch.equal(at[name], value) for name, value in apart.state_dict().items())
    assert not torch.equal(at["net.dance_encoder.head.mu.weight"], fresh["net.dance_encoder.head.mu.weight"])


@pytest.mark.parametrize("term", ["d_mov_real", "g_mov", "align", "style_real"])
def test_a_term_without_weight_is_not_computed(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = next(t for t in (mm_gan.DISCRIMINATOR, mm_gan.GENERATOR, mm_gan.STYLE) if term in t)

    def refuse(_: object) -> torch.Tensor:
        raise AssertionError(f"{term} was computed")

    monkeypatch.setitem(terms, term, refuse)  # type: ignore[arg-type]
    m = with_optimizers(module(weights={term: 0.0}))
    assert term not in m.optimize(*batch(m))
    m = with_optimizers(module(weights={term: 1.0}))
    with pytest.raises(AssertionError, match="was computed"):
        m.optimize(*batch(m))


def test_an_update_without_terms_is_not_made() -> None:
    none = {name: 0.0 for name in (*mm_gan.DISCRIMINATOR, *mm_gan.STYLE)}
    m = with_optimizers(module(weights=none))
    still = copy.deepcopy((m.net.style_regressor.state_dict(), m.dance_discriminator.state_dict()))
    assert {k for k in m.optimize(*batch(m)) if k.startswith("grad")} == {"grad_g"}
    for network, before in zip((m.net.style_regressor, m.dance_discriminator), still, strict=True):
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


# --- a dance latent that opens -------------------------------------------------------------------------------


def test_kl_dan_opens_at_half_of_a_short_run() -> None:
    m = module(anneal_midpoint=15000.0, weights={"kl_dan": 0.002})
    opening = [m.annealed_weights(step, 1000)["kl_dan"] for step in (0, 500, 1000)]
    assert opening[0] < 2e-6 and opening[1] == 0.001 and opening[2] > 0.00199
    kept = {k: v for k, v in m.annealed_weights(0, 1000).items() if k != "kl_dan"}
    assert kept == {k: v for k, v in m.g_weights.items() if k != "kl_dan"}


def test_without_a_midpoint_kl_dan_is_open_from_the_start() -> None:
    m = module()
    assert m.annealed_weights(0, 1000) == m.g_weights and m.g_weights["kl_dan"] == 0.01


def test_the_dance_encoder_starts_with_little_noise_where_asked() -> None:
    paper, ours = module(), module(dance_logvar=-4.0)
    real, noise = batch(paper)
    a, b = (m.net.reconstruct(real, noise).z_dan for m in (paper, ours))
    torch.testing.assert_close(b.logvar, a.logvar - 4.0)
    torch.testing.assert_close(b.mu, a.mu)


def test_the_music_branch_is_decoded_only_where_a_term_reads_it() -> None:
    """Ours has no discriminators; validation logs the KL of the music's movements all the same."""
    off = {name: 0.0 for name in (*mm_gan.DISCRIMINATOR, "g_mov")}
    m = module(weights=off)
    real, noise = batch(m)
    assert m.branches(real, noise).music.mov is None and "kl_fake_mov" not in m.generator_phase(real, noise)
    assert "kl_fake_mov" in m.eval().generator_phase(real, noise)
    m = module(weights={**off, "kl_fake_mov": 0.1})
    assert "kl_fake_mov" in m.generator_phase(real, noise)
