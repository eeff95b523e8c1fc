"""Generates the dance of a state, identical to that of ``d2m infer state=FILE``."""

from __future__ import annotations

from dataclasses import replace

from d2m.dance.dancer import Dance, Dancer, HeardSong, Song
from d2m.dance.pinned import PinnedDraws
from d2m.studio.state import State


def drawn_by(dancer: Dancer, state: State) -> Dancer:
    """The dancer with the state's draws and style mode."""
    g = dancer.generator
    if state.style_mode is not None:
        g = replace(g, style_mode=state.style_mode)  # type: ignore[arg-type]
    if state.draws:
        g = PinnedDraws.of(g, state.draws)
    return dancer if g is dancer.generator else Dancer(g, dancer.name)


def with_named_draws(dancer: Dancer, dance: Dance) -> Dance:
    """The dance with the draws' numbers replaced by those named in the state."""
    g = dancer.generator
    if not isinstance(g, PinnedDraws):
        return dance
    return replace(dance, versions=replace(dance.versions, draws=g.chosen(dance.versions.draws)))


def dance_of(dancer: Dancer, state: State, song: Song | HeardSong | None = None) -> Dance:
    """The dance that a state describes.

    Args:
        dancer: of the state's bundle. song: replaces the state's.

    Raises:
        D2MError: a song that cannot be read, an edit or draw that the bundle does not have.
    """
    edit, strength = state.edit(dancer.generator)
    drawn = drawn_by(dancer, state)
    song = state.song if song is None else song
    dance = drawn(song, seed=state.seed, warp=state.warp, edit=edit, strength=strength)  # type: ignore[arg-type]
    return with_named_draws(drawn, dance)
