"""Stage 2's own terms: the learned prior, and a dance latent that opens before it is closed."""

from __future__ import annotations

import torch

from d2m.nets.composition import CompositionNoise, RealUnits
from d2m.train.modules.mm_gan import MMGANModule

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


def test_the_learned_prior_follows_the_dance_and_never_the_other_way() -> None:
    m = module()
    real, noise = batch(m)
    m.generator_phase(real, noise)["prior_dan"].backward()
    reached = {name.split(".")[1] for name, p in m.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"style_to_dance"}


def test_the_prior_learns_the_mean_and_spread_of_the_dances() -> None:
    """Of all Gaussians that know nothing of the dance, the one nearest to all posteriors has their moments."""
    m = module()
    real, noise = batch(m, b=64)
    with torch.no_grad():
        posterior = m.net.reconstruct(real, noise).z_dan
    mu, logvar = (torch.zeros(SIZES["z_dan"], requires_grad=True) for _ in range(2))
    optimizer = torch.optim.Adam([mu, logvar], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        posterior.kl_to(type(posterior)(mu.expand_as(posterior.mu), logvar.expand_as(posterior.mu))).backward()
        optimizer.step()
    variance = posterior.mu.var(0, correction=0) + posterior.logvar.exp().mean(0)
    torch.testing.assert_close(mu, posterior.mu.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(logvar.exp(), variance, atol=0, rtol=1e-2)


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
