"""Mapping from tensor names in the reference's checkpoints to ours: data only.

The reference's ``save()`` writes dictionaries of state dicts, one per network, with one Adam per network next to them
(``opt_<network>``) and two counters. The style network is a bare state dict.
"""

from __future__ import annotations

from typing import NamedTuple


class NetworkName(NamedTuple):
    """One network of the reference: our dotted name in a LightningModule, and pairs (their prefix, our prefix)."""

    ours: str
    prefixes: tuple[tuple[str, str], ...]


_MLP = (("enc.", "body."), ("mean.0.", "head.mu."), ("std.0.", "head.logvar."))
#: The reference calls the log-variance head ``std``.
_GRU = (
    ("init_h", "body.h0"), ("recurrent.", "body.gru."), ("mean.0.", "head.mu."), ("std.0.", "head.logvar."),
)  # fmt: skip
_DISCRIMINATOR = (("movementd.", "latent."), ("audd.", "audio."), ("jointd.0.", "joint."))

STAGE1_NETWORKS: dict[str, NetworkName] = {
    "initp_enc": NetworkName("net.initial_pose_encoder", _MLP),
    "initp_dec": NetworkName("net.initial_pose_decoder", (("dec.", "body."),)),
    "movement_enc": NetworkName("net.movement_encoder", _GRU),
    "stdp_dec": NetworkName(
        "net.unit_decoder", (("z2init.0.", "body.initial."), ("recurrent.", "body.gru."), ("pose_g.", "head."))
    ),
}
STAGE2_NETWORKS: dict[str, NetworkName] = {
    "stdp_dec": STAGE1_NETWORKS["stdp_dec"],
    "movement_enc": STAGE1_NETWORKS["movement_enc"],
    "dance_enc": NetworkName("net.dance_encoder", _GRU),
    "dance_dec": NetworkName(
        "net.dance_decoder",
        (
            ("z2init.0.", "body.initial."), ("recurrent.", "body.gru."), ("movement_g.", "mix."),
            ("mean.0.", "head.mu."), ("std.0.", "head.logvar."),
        ),
    ),
    "audstyle_enc": NetworkName("net.style_to_dance", _MLP),
    "danceAud_dis": NetworkName("movement_discriminator", _DISCRIMINATOR),
    "zdance_dis": NetworkName("dance_discriminator", _DISCRIMINATOR),
    "dance_reg": NetworkName("net.style_regressor", (("main.", "body."),)),
}  # fmt: skip
STYLE_NETWORK = NetworkName(
    "net.music_style", (("init_h", "body.h0"), ("recurrent.", "body.gru."), ("classifier.", "classifier."))
)

#: Keys of a stage's checkpoint: prefix of a network's Adam state, and the counters of epochs and batches.
OPTIMIZER_PREFIX, EPOCH, BATCHES = "opt_", "ep", "total_it"

#: Our size -> the places (network, tensor, axis) that reveal it. The majority decides, so that a single bad tensor is
#: the one named in the error.
Places = tuple[tuple[str, str, int], ...]
STAGE1_SIZES: dict[str, Places] = {
    "z_ini": (
        ("initp_enc", "mean.0.weight", 0), ("initp_enc", "std.0.weight", 0), ("initp_enc", "mean.0.bias", 0),
        ("initp_dec", "dec.0.weight", 1),
    ),
    "z_mov": (
        ("movement_enc", "mean.0.weight", 0), ("movement_enc", "std.0.weight", 0), ("movement_enc", "mean.0.bias", 0),
        ("stdp_dec", "recurrent.weight_ih_l0", 1),
    ),
    "movement_hidden": (
        ("movement_enc", "init_h", 2), ("movement_enc", "recurrent.weight_hh_l0", 1),
        ("movement_enc", "recurrent.weight_hh_l0_reverse", 1),
    ),
    "unit_hidden": (
        ("stdp_dec", "z2init.0.weight", 0), ("stdp_dec", "pose_g.1.weight", 0),
        ("stdp_dec", "recurrent.weight_hh_l0", 1),
    ),
}  # fmt: skip
STAGE2_SIZES: dict[str, Places] = {
    "z_dan": (
        ("dance_enc", "mean.0.weight", 0), ("dance_enc", "std.0.weight", 0), ("audstyle_enc", "mean.0.weight", 0),
        ("dance_reg", "main.0.weight", 1),
    ),
    "dance_encoder_hidden": (
        ("dance_enc", "init_h", 2), ("dance_enc", "mean.0.weight", 1), ("dance_enc", "recurrent.weight_hh_l0", 1),
    ),
    "dance_decoder_hidden": (
        ("dance_dec", "z2init.0.weight", 0), ("dance_dec", "movement_g.1.weight", 0),
        ("dance_dec", "recurrent.weight_hh_l0", 1),
    ),
}  # fmt: skip
#: The style network's own key in :data:`STYLE_SIZES`; its file is a bare state dict.
STYLE = ""
STYLE_SIZES: dict[str, Places] = {
    "n_genres": ((STYLE, "classifier.2.weight", 0), (STYLE, "classifier.2.bias", 0)),
}

#: Our optimizers in the order of ``configure_optimizers``, each as its parameter groups, which are lists of networks.
STAGE1_OPTIMIZERS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("initp_enc", "initp_dec", "movement_enc", "stdp_dec"),),
)
STAGE2_OPTIMIZERS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("danceAud_dis", "zdance_dis"),),
    (("dance_enc", "audstyle_enc"),),
    (("dance_dec",), ("stdp_dec",)),
    (("dance_reg",),),
)
#: How often our stage-2 optimizers step per batch: D 1, generator 2, style 2.
STAGE2_STEPS_PER_BATCH = 5

#: Files of the normaliser, in the order of :class:`d2m.data.normalizer.Normalizer`'s fields.
STATS_FILES = ("all_onbeat_mean.npy", "all_onbeat_std.npy", "all_aud_mean.npy", "all_aud_std.npy")
