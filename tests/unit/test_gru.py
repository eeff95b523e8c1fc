"""The own GRU against nn.GRU: parameters, values, gradients, bfloat16, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2m.core.errors import D2MError
from d2m.core.skeleton import POSE_DIM
from d2m.nets import gru as gru_module
from d2m.nets import products
from d2m.nets.du_vae import DUVAE
from d2m.nets.gru import GRU, Backend, backend, set_backend
from d2m.nets.losses import compute
from d2m.nets.losses.du_vae import TERMS, DUVAEStep
from d2m.nets.products import Linear
from d2m.nets.sizes import Sizes

SHAPES = [(1, False), (2, False), (1, True), (2, True)]


def made(layers: int = 1, bidirectional: bool = False, *, dtype: torch.dtype = torch.float64, hidden: int = 6) -> GRU:
    torch.manual_seed(0)
    return GRU(5, hidden, layers, bidirectional=bidirectional).to(dtype)


def asked(gru: GRU, b: int = 3, t: int | None = 4) -> tuple[Tensor, Tensor]:
    """Input (b, t, 5), or (b, 5) if it is constant, and first states."""
    g = torch.Generator().manual_seed(1)
    like = gru.weight_hh_l0
    directions = 2 if gru.bidirectional else 1
    x = torch.randn(*((b, 5) if t is None else (b, t, 5)), generator=g).to(like)
    h0 = torch.randn(gru.num_layers * directions, b, gru.hidden_size, generator=g).to(like)
    return x, h0


def outcome(gru: GRU, x: Tensor, h0: Tensor, name: Backend, steps: int | None = None) -> list[Tensor]:
    """States, last states and the gradients of input, first states and parameters, by a backend."""
    x, h0 = x.clone().requires_grad_(), h0.clone().requires_grad_()
    gru.zero_grad()
    with backend(name):
        states, last = (gru.repeat(x, h0, steps), None) if steps else gru(x, h0)
    loss = (states * torch.linspace(-1, 1, states.numel()).view(states.shape).to(states)).sum()
    if last is not None:
        loss = loss + last.square().sum()
    loss.backward()
    grads = [p.grad for p in (x, h0, *gru.parameters())]
    assert all(g is not None for g in grads)
    return [states.detach(), *([] if last is None else [last.detach()]), *(g for g in grads if g is not None)]


def test_parameters_are_those_of_nn_gru_in_name_shape_and_draw() -> None:
    own = made(2, True)
    torch.manual_seed(0)
    theirs = nn.GRU(5, 6, 2, batch_first=True, bidirectional=True).double()
    assert own.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in own.state_dict().items())


@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
@pytest.mark.parametrize("b", [1, 3, 700])  # 700 rows: more than one block of steps
def test_values_and_gradients_are_nn_grus(layers: int, bidirectional: bool, b: int) -> None:
    gru = made(layers, bidirectional)
    x, h0 = asked(gru, b)
    for ours, theirs in zip(outcome(gru, x, h0, "own"), outcome(gru, x, h0, "torch"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
@pytest.mark.parametrize(("b", "t"), [(3, 1), (3, 4), (700, 4)])
def test_all_rows_may_begin_in_one_state(layers: int, bidirectional: bool, b: int, t: int) -> None:
    gru = made(layers, bidirectional)
    x, h0 = asked(gru, b, t)
    for ours, theirs in zip(outcome(gru, x, h0[:, :1], "own"), outcome(gru, x, h0[:, :1], "torch"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_constant_input_is_the_same_input_at_every_step(layers: int) -> None:
    gru = made(layers)
    x, h0 = asked(gru, 700, None)
    for ours, theirs in zip(outcome(gru, x, h0, "own", 4), outcome(gru, x, h0, "torch", 4), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
def test_gradients_are_those_of_finite_differences(layers: int, bidirectional: bool) -> None:
    gru = made(layers, bidirectional, hidden=3)
    x, h0 = (v.requires_grad_() for v in asked(gru, 2, 3))
    with backend("own"):
        assert torch.autograd.gradcheck(lambda x, h0, *_: gru(x, h0), (x, h0, *gru.parameters()), fast_mode=True)


@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
def test_a_single_row_without_gradients_is_nn_grus(layers: int, bidirectional: bool) -> None:
    gru = made(layers, bidirectional, dtype=torch.float32, hidden=64)
    x, h0 = asked(gru, 1, 32)
    constant, _ = asked(gru, 1, None)
    for change in range(2):  # no result may be of earlier weights
        with torch.no_grad(), backend("own"):
            ours = *gru(x, h0), gru.repeat(constant, h0, 32)
        with torch.no_grad(), backend("torch"):
            theirs = *gru(x, h0), gru.repeat(constant, h0, 32)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
        gru.load_state_dict({k: v.roll(1 + change, 0) for k, v in gru.state_dict().items()})


def test_a_single_row_has_the_same_bits_for_any_number_of_threads() -> None:
    gru = made(dtype=torch.float32, hidden=512)
    (gates,), h0 = torch.randn(1, 2048, generator=torch.Generator().manual_seed(0)), torch.zeros(512)
    states, before = [], torch.get_num_threads()
    with torch.no_grad():
        for threads in (1, 2):
            torch.set_num_threads(threads)
            states.append(gru.repeat_row(gates, h0, 3))
    torch.set_num_threads(before)
    assert torch.equal(*states)


@pytest.mark.parametrize("hidden", [64, 67])
def test_a_row_in_the_compiled_loop_is_nn_grus(hidden: int) -> None:
    gru = made(1, dtype=torch.float32, hidden=hidden)
    x, h0 = asked(gru, 3, None)
    with torch.no_grad():
        assert gru.takes_rows
        gates = gru.input_gates(x)
        ours = torch.stack([gru.repeat_row(*row, 32) for row in zip(gates, h0[0], strict=True)])
        with backend("torch"):
            theirs = gru.repeat(x, h0, 32)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_the_compiled_loop_saturates_and_passes_on_what_is_not_finite() -> None:
    gru = made(1, dtype=torch.float32, hidden=8)
    gates, h0 = torch.zeros(32), torch.linspace(-1, 1, 8)
    gates[8:16] = 200.0  # z is 1: the state stays
    with torch.no_grad():
        torch.testing.assert_close(gru.repeat_row(gates, h0, 3), h0.expand(3, -1), rtol=0, atol=1e-6)
        gates[8:16] = -200.0  # z is 0, and n is 1
        gates[24:] = 200.0
        assert (gru.repeat_row(gates, h0, 1) == 1).all()
        gates[0] = torch.nan
        assert gru.repeat_row(gates, h0, 1)[0, 0].isnan()


def test_a_row_needs_a_cpu_float32_and_no_gradients() -> None:
    gru = made(1, dtype=torch.float32)
    assert not gru.takes_rows
    with torch.no_grad():
        assert gru.takes_rows and not made(1).takes_rows
        assert not made(2, dtype=torch.float32).takes_rows and not made(1, True, dtype=torch.float32).takes_rows
        assert not copy.deepcopy(gru).to("meta").takes_rows
        with backend("torch"):
            assert not gru.takes_rows
        with torch.autocast("cpu", torch.bfloat16):
            assert not gru.takes_rows


def test_values_in_float32_are_nn_grus_to_1e_6() -> None:
    gru = made(1, True, dtype=torch.float32, hidden=64)
    x, h0 = asked(gru, 16, 32)
    with torch.no_grad(), backend("own"):
        ours = gru(x, h0)
    with torch.no_grad(), backend("torch"):
        theirs = gru(x, h0)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("layers", "bidirectional"), SHAPES)
def test_without_gradients_the_values_are_the_same_bits(layers: int, bidirectional: bool) -> None:
    gru = made(layers, bidirectional, dtype=torch.float32)
    x, h0 = asked(gru, 700)
    with backend("own"):
        kept = gru(x, h0)
        with torch.no_grad():
            free = gru(x, h0)
    assert kept[0].requires_grad
    assert all(torch.equal(a, b) for a, b in zip(kept, free, strict=True))


def test_frozen_weights_pass_the_gradient_of_the_input_on() -> None:
    gru = made().requires_grad_(False)
    x, h0 = asked(gru, 3, None)
    x.requires_grad_()
    found = []
    for name in ("own", "torch"):
        with backend(name):
            found.append(torch.autograd.grad(gru.repeat(x, h0, 4).square().sum(), x)[0])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_two_backward_passes_through_one_forward_pass_agree() -> None:
    gru = made()
    x, h0 = asked(gru)
    with backend("own"):
        loss = gru(x, h0)[0].square().sum()
    first = torch.autograd.grad(loss, gru.weight_hh_l0, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, gru.weight_hh_l0)[0])


def test_a_gradient_of_a_gradient_is_refused() -> None:
    gru = made()
    x, h0 = asked(gru)
    x.requires_grad_()
    with backend("own"):
        gradient = torch.autograd.grad(gru(x, h0)[0].square().sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("rows", [1, 16])
@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_as_near_to_float32_as_nn_grus(native: bool, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "cpu_has_bf16", lambda: native)
    gru = made(dtype=torch.float32, hidden=64)
    x, h0 = asked(gru, 16, 8)
    h0 = h0[:, :rows]
    exact = outcome(gru, x, h0, "torch")
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        ours, theirs = outcome(gru, x, h0, "own"), outcome(gru, x, h0, "torch")
    for a, b, c in zip(ours, theirs, exact, strict=True):
        error, usual = (a.float() - c).norm() / c.norm(), (b.float() - c).norm() / c.norm()
        assert 1e-4 < error < 1.2 * usual


@pytest.mark.parametrize("native", [True, False])
def test_weights_are_cast_once_a_call(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "cpu_has_bf16", lambda: native)
    gru = made(dtype=torch.float32)
    x, h0 = asked(gru, 3, 32)
    cast: list[tuple[int, ...]] = []
    operand = products.Arithmetic.operand

    def counted(self: products.Arithmetic, v: Tensor) -> Tensor:
        cast.append(tuple(v.shape))
        out: Tensor = operand(self, v)
        return out

    monkeypatch.setattr(products.Arithmetic, "operand", counted)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False), torch.no_grad(), backend("own"):
        gru(x, h0)
    assert cast.count(tuple(gru.weight_hh_l0.shape)) == 1


def test_a_linear_layer_emulates_the_bfloat16_of_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    linear, x = Linear(48, 32), torch.randn(4, 7, 48)
    results = []
    for native in (True, False):
        monkeypatch.setattr(products, "cpu_has_bf16", lambda native=native: native)
        mine, rows = copy.deepcopy(linear), x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = mine(rows)
        out.float().square().sum().backward()
        assert out.dtype == torch.bfloat16
        results.append([out, rows.grad, mine.weight.grad, mine.bias.grad])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=0.02, atol=0.02 * float(b.detach().abs().max()))


def test_linear_of_a_transposed_input_is_nn_linear() -> None:
    torch.manual_seed(0)
    linear, x = Linear(5, 3).double(), torch.randn(4, 7, 5).double().transpose(0, 1)
    torch.testing.assert_close(linear(x), nn.functional.linear(x, linear.weight, linear.bias))
    torch.testing.assert_close(linear(x[0, 0]), nn.functional.linear(x[0, 0], linear.weight, linear.bias))


def test_the_backend_is_own_on_a_cpu_and_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    gru = made()
    x, h0 = asked(gru)
    ran: list[bool] = []
    run = gru_module.run

    def counted(*a: Any) -> Any:
        ran.append(True)
        return run(*a)

    monkeypatch.setattr(gru_module, "run", counted)
    gru(x, h0)
    assert ran == [True]
    with backend("torch"):
        gru(x, h0)
        gru.repeat(x[:, 0], h0, 2)
    assert ran == [True]
    with pytest.raises(D2MError, match="gru=cudnn: choose from auto, own, torch"):
        set_backend("cudnn")


def test_a_short_training_reaches_the_loss_of_nn_gru() -> None:
    """Twenty steps of Adam on stage 1's networks, each backend from the same weights with the same noise."""
    torch.manual_seed(0)
    sizes = Sizes(n_genres=2, z_ini=2, z_mov=8, z_dan=8, movement_hidden=16, unit_hidden=16, dance_encoder_hidden=8,
                  dance_decoder_hidden=8)  # fmt: skip
    start, units = DUVAE(sizes), torch.randn(6, 1, POSE_DIM) + torch.linspace(-1, 1, 32)[:, None]
    curves = []
    for name in ("own", "torch"):
        net = copy.deepcopy(start)
        adam = torch.optim.Adam(net.parameters(), 5e-3)
        generator = torch.Generator().manual_seed(0)
        curve = []
        for _ in range(20):
            with backend(name):
                losses = compute(TERMS, DUVAEStep(net(units, units, net.draw_noise(units, generator)), units, units))
            loss = losses["recon"] + losses["cross"] + losses["pose"]
            adam.zero_grad()
            loss.backward()
            adam.step()
            curve.append(float(loss.detach()))
        curves.append(curve)
    own, theirs = curves
    assert own[-1] < 0.9 * own[0]
    assert own == pytest.approx(theirs, rel=1e-3)


def test_one_row_follows_its_weights() -> None:
    """A single row reads a copy of the weights that is made once; it must not outlive a change of them."""
    gru = made(2, dtype=torch.float32)
    x, h0 = asked(gru, b=1, t=None)

    def both() -> tuple[Tensor, Tensor]:
        with torch.no_grad(), backend("own"):
            one = gru.repeat(x, h0, 3)
        with torch.no_grad(), backend("torch"):
            return one, gru.repeat(x, h0, 3)

    first, theirs = both()
    torch.testing.assert_close(first, theirs)
    with torch.no_grad():
        gru.weight_hh_l1.mul_(2)  # as an optimizer does
    second, theirs = both()
    torch.testing.assert_close(second, theirs)
    assert not torch.equal(first, second)
    gru.load_state_dict(made(2, hidden=6, dtype=torch.float32).state_dict())
    torch.testing.assert_close(both()[0], first)
    gru.double()
    x, h0 = x.double(), h0.double()
    third, theirs = both()
    torch.testing.assert_close(third, theirs)
    assert third.dtype == torch.float64
