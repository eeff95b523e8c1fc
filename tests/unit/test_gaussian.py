"""Diagonal Gaussians against torch.distributions and their definitions."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from d2m.core.gaussian import DiagonalGaussian, randn


def some_gaussian(*shape: int, dtype: torch.dtype = torch.float64) -> DiagonalGaussian:
    g = torch.Generator().manual_seed(1)
    return DiagonalGaussian(
        torch.randn(*shape, generator=g, dtype=dtype), torch.randn(*shape, generator=g, dtype=dtype)
    )


def test_kl_is_that_of_torch() -> None:
    q = some_gaussian(7, 5)
    expected = kl_divergence(Normal(q.mu, (q.logvar / 2).exp()), Normal(0.0, 1.0)).sum(-1).mean()
    torch.testing.assert_close(q.kl(), expected)


def test_kl_to_another_gaussian_is_that_of_torch() -> None:
    q, prior = some_gaussian(4, 3), some_gaussian(4, 3)
    prior = DiagonalGaussian(prior.mu.flip(0) + 0.3, prior.logvar.flip(0) - 0.2)
    normals = [Normal(x.mu, (x.logvar / 2).exp()) for x in (q, prior)]
    torch.testing.assert_close(q.kl_to(prior), kl_divergence(*normals).sum(-1).mean())
    standard = DiagonalGaussian(torch.zeros_like(q.mu), torch.zeros_like(q.mu))
    torch.testing.assert_close(q.kl_to(standard), q.kl())


def test_kl_of_the_prior_is_zero() -> None:
    assert DiagonalGaussian(torch.zeros(3, 4), torch.zeros(3, 4)).kl() == 0


def test_kl_is_float32_where_the_latent_is_bfloat16() -> None:
    assert some_gaussian(4, 3, dtype=torch.bfloat16).kl().dtype == torch.float32


def test_sample_scales_the_noise_it_is_given() -> None:
    q = DiagonalGaussian(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2 * torch.log(torch.tensor(3.0))]))
    torch.testing.assert_close(q.sample(torch.tensor([1.0, -1.0])), torch.tensor([2.0, -1.0]))


def test_samples_have_the_moments() -> None:
    q = DiagonalGaussian(torch.full((200_000, 1), 0.5), torch.full((200_000, 1), -1.0))
    x = q.sample(generator=torch.Generator().manual_seed(0))
    assert x.mean().item() == pytest.approx(0.5, abs=0.01)
    assert x.var().item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.02)


def test_one_seed_one_draw() -> None:
    like = torch.zeros(2, dtype=torch.float64)
    a, b = (randn(2, 3, generator=torch.Generator().manual_seed(5), like=like) for _ in range(2))
    assert torch.equal(a, b) and a.dtype == torch.float64


def test_reshape_and_cat() -> None:
    q = some_gaussian(6, 4)
    assert q.reshape(2, 3).mu.shape == (2, 3, 4)
    assert torch.equal(q.parameters_cat(), torch.cat([q.mu, q.logvar], -1))
