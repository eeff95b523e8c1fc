"""Shapes, sizes and properties of the networks."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from d2m.nets.blocks import ConstantInputDecoder, SequenceEncoder, windows
from d2m.nets.composition import Composition
from d2m.nets.du_vae import DUVAE
from d2m.nets.mm_gan import Discriminator
from d2m.nets.music_style import MusicStyle
from d2m.nets.sizes import Sizes

CONF = Path(__file__).parents[2] / "conf"

SIZES = Sizes(
    n_genres=3, z_ini=4, z_mov=6, z_dan=8, movement_hidden=12, unit_hidden=16, dance_encoder_hidden=10,
    dance_decoder_hidden=14,
)  # fmt: skip


@pytest.mark.parametrize("b", [1, 3])
def test_du_vae_shapes(b: int) -> None:
    net = DUVAE(SIZES)
    units = torch.randn(b, 32, 28)
    out = net(units, units + 1, net.draw_noise(units, torch.Generator().manual_seed(0)))
    assert out.recon[0].shape == out.cross[1].shape == (b, 32, 28)
    assert out.z_mov.mu.shape == (2 * b, 6) and out.singles.shape == (4 * b, 28)


def test_cross_uses_the_other_copys_movement() -> None:
    net = DUVAE(SIZES).eval()
    units = torch.randn(2, 32, 28)
    noise = net.draw_noise(units, torch.Generator().manual_seed(0))
    out = net(units, units.flip(1), noise)
    expected = net.unit_decoder(out.z_ini_samples[:2], out.z_mov_samples[2:])
    torch.testing.assert_close(out.cross[0], expected)
    assert not torch.allclose(out.cross[0], out.recon[0])


def test_single_frames_are_frames_of_copy_one() -> None:
    net = DUVAE(SIZES)
    units = torch.arange(2 * 32).view(2, 32, 1).expand(2, 32, 28).float()
    noise = net.draw_noise(units, torch.Generator().manual_seed(0))
    out = net(units, units, noise)
    assert out.singles[:, 0].view(4, 2).T.tolist() == units[:, noise.frames, 0].tolist()


def test_bidirectional_encoder_reads_both_ends() -> None:
    net = SequenceEncoder(3, 5, bidirectional=True)
    x = torch.randn(2, 7, 3)
    out, _ = net.gru(x, net.h0.expand(-1, 2, -1))
    torch.testing.assert_close(net(x), torch.cat([out[:, -1, :5], out[:, 0, 5:]], -1))


def test_two_layer_decoder_keeps_items_apart() -> None:
    """The reference reshapes a two-layer initial state so that an item's dance depends on its neighbours'."""
    net = ConstantInputDecoder(3, 4, 5, num_layers=2)
    x, c = torch.randn(4, 3), torch.randn(4, 4)
    torch.testing.assert_close(net(x, c, 6)[1:2], net(x[1:2], c[1:2], 6))


def test_unroll_starts_every_unit_from_the_pose_before() -> None:
    net = Composition(SIZES).eval()
    z_mov, pose, eps = torch.randn(2, 3, 6), torch.randn(2, 28), torch.randn(2, 3, 4)
    units = net.unroll(z_mov, pose, eps)
    second = net.unroll(z_mov[:, 1:], units[:, 0, -1], eps[:, 1:])
    assert units.shape == (2, 3, 32, 28)
    torch.testing.assert_close(units[:, 1:], second)


def test_a_single_dance_is_unrolled_as_one_of_several() -> None:
    net = Composition(SIZES).eval()
    z_mov, pose, eps = torch.randn(2, 5, 6), torch.randn(2, 28), torch.randn(2, 5, 4)
    with torch.no_grad():
        together = net.unroll(z_mov, pose, eps)
        alone = torch.cat([net.unroll(*(x[k : k + 1] for x in (z_mov, pose, eps))) for k in range(2)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)


def test_real_batch_carries_no_gradient() -> None:
    net = Composition(SIZES)
    units, features = torch.randn(2, 3, 32, 28), torch.randn(2, 30, 28)
    real = net.read_real(units, features, net.draw_noise(units))
    assert not real.z_mov.mu.requires_grad and not real.style.requires_grad
    torch.testing.assert_close(real.audio, features.mean(1))


def test_discriminator_gives_one_logit() -> None:
    assert Discriminator(36, 28)(torch.randn(5, 3, 12), torch.randn(5, 28)).shape == (5,)


@pytest.mark.parametrize(("t", "n"), [(30, 1), (31, 2), (45, 2), (46, 3), (60, 3), (900, 59)])
def test_windows_cover_the_song(t: int, n: int) -> None:
    x = torch.arange(t).float()[:, None]
    w = windows(x, 30)
    assert w.shape == (n, 30, 1)
    assert w[0, 0, 0] == 0 and w[-1, -1, 0] == t - 1
    assert (w[1:, 0, 0] - w[:-1, 0, 0]).le(15).all()


def test_windows_refuse_a_song_that_is_too_short() -> None:
    with pytest.raises(ValueError, match="29 frames"):
        windows(torch.zeros(29, 28), 30)


def test_song_style_modes() -> None:
    net = MusicStyle(3, 28, 30).eval()
    song = torch.randn(75, 28)
    torch.testing.assert_close(net.song_style(song), net.style(windows(song, 30)).mean(0))
    torch.testing.assert_close(net.song_style(song, "legacy"), net.style(song[None])[0])
    assert net.song_probabilities(song).sum().item() == pytest.approx(1.0)


def test_full_size_has_the_papers_widths() -> None:
    with torch.device("meta"):
        net = Composition(Sizes(n_genres=3, **dict(OmegaConf.load(CONF / "size" / "full.yaml"))))
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    assert shapes["movement_encoder.head.mu.weight"] == (512, 2048)
    assert shapes["unit_decoder.body.initial.weight"] == (1024, 522)
    assert shapes["dance_encoder.body.gru.weight_ih_l0"] == (3072, 1024)
    assert shapes["style_to_dance.head.mu.weight"] == (512, 128)
