"""The fourth stage's losses: dances that start at another's last pose and must return to their own in time."""

from __future__ import annotations

import torch

from d2m.core.gaussian import DiagonalGaussian
from d2m.nets.losses.generator import TERMS, ClosedLoopStep, foreign_starts, log_energy


def units(b: int = 4) -> torch.Tensor:
    return torch.randn(b, 3, 32, 28, generator=torch.Generator().manual_seed(0))


def test_some_dances_begin_where_another_ended() -> None:
    real = units()
    first, due = foreign_starts(real, share=0.5, recovery=16)
    assert first.shape == (4, 28) and due.shape == (4, 3, 32)
    assert torch.equal(first[0], real[3, -1, -1]) and torch.equal(first[1], real[0, -1, -1])
    assert torch.equal(first[2:], real[2:, 0, 0])
    foreign = due[0].flatten()
    torch.testing.assert_close(foreign[:17], torch.arange(17) / 16)
    assert (foreign[16:] == 1).all() and torch.equal(due[1], due[0]) and (due[2:] == 1).all()


def test_without_a_share_every_dance_begins_at_its_own_pose() -> None:
    real = units()
    first, due = foreign_starts(real, share=0.0, recovery=16)
    assert torch.equal(first, real[:, 0, 0]) and (due == 1).all()


def test_a_dance_is_held_to_its_own_only_when_that_is_due() -> None:
    real = units()
    _, due = foreign_starts(real, share=0.5, recovery=16)
    still = DiagonalGaussian(torch.zeros(4, 3, 6), torch.zeros(4, 3, 6))

    def terms(row: int, frame: int) -> tuple[float, float]:
        """recon and velocity of a reconstruction that is wrong in one frame by 1."""
        recon = real.clone()
        recon[row, 0, frame] += 1
        step = ClosedLoopStep(real, recon, recon, still, still, due)
        return tuple(float(TERMS[name](step)) * real.numel() / 28 for name in ("recon", "velocity"))  # type: ignore[return-value]

    assert terms(0, 0)[0] == 0  # of another dance
    early, late, own = terms(0, 4), terms(0, 20), terms(3, 4)
    torch.testing.assert_close(torch.tensor([early[0], late[0], own[0]]), torch.tensor([0.25, 1.0, 1.0]))
    assert 0 < early[1] < late[1] and abs(late[1] - own[1]) < 1e-4


def test_energies_are_read_after_the_first_unit() -> None:
    """In which a dance may still be on its way; a sequence of one unit is read whole."""
    real = units()
    on_its_way, faster = real.clone(), real.clone()
    on_its_way[:, 0] *= 3
    faster[:, 1:] *= 3
    torch.testing.assert_close(log_energy(on_its_way), log_energy(real))
    torch.testing.assert_close(log_energy(faster), log_energy(real) + torch.tensor(9.0).log(), atol=1e-3, rtol=0)
    assert (log_energy(on_its_way[:, :1]) > log_energy(real[:, :1]) + 2).all()
