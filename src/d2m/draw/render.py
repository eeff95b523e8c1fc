"""Poses to pictures: one or several dancers, side by side, as antialiased stick figures.

Right limbs are orange, left limbs blue (after Okabe and Ito, suitable for all kinds of colour vision), which
shows whether the dancer faces us (orange on our left) or turns away. Frames are uint8 RGB, (height,
width, 3).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from d2m.core.errors import D2MError
from d2m.core.files import atomic_path
from d2m.core.skeleton import FPS, JOINTS, LIMBS
from d2m.draw.text import drawable
from d2m.draw.view import Poses, View, box, check_panels, fit, poses_at

Colour = tuple[int, int, int]
Frame = NDArray[np.uint8]

#: Frames per second of a video: twice the dance's, so that motion looks smooth.
VIDEO_FPS = 30


@dataclass(frozen=True)
class Theme:
    """RGB colours of a picture."""

    background: Colour
    ground: Colour
    line: Colour
    text: Colour
    right: Colour
    left: Colour
    middle: Colour
    torso: Colour


THEMES: dict[str, Theme] = {
    "dark": Theme(
        background=(17, 20, 27), ground=(24, 29, 38), line=(58, 66, 80), text=(226, 230, 238),
        right=(240, 158, 30), left=(86, 180, 233), middle=(232, 235, 240), torso=(43, 51, 64),
    ),
    "light": Theme(
        background=(250, 250, 248), ground=(238, 239, 238), line=(190, 194, 200), text=(38, 43, 52),
        right=(213, 94, 0), left=(0, 114, 178), middle=(70, 76, 86), torso=(222, 225, 230),
    ),
}  # fmt: skip

_SHIFT = 4  # cv2 then takes coordinates in 1/16 pixel
_ONE = 1 << _SHIFT
_FAR = 1 << 15  # pixels; beyond it cv2's fixed point would overflow
_HEAD = JOINTS.index("nose")
_TRUNK = [JOINTS.index(j) for j in ("right_shoulder", "left_shoulder", "left_hip", "right_hip")]
#: (side, joint pairs (n, 2)), drawn in this order: the later lies on top.
_SEGMENTS = [(side, np.array([(a, b) for a, b, s in LIMBS if s == side])) for side in ("left", "right", "middle")]


class _Painter:
    """Draws one dancer at a time; line widths follow the dancer's size."""

    def __init__(self, theme: Theme, torso: float, height: int):
        self.theme = theme
        self.width = int(np.clip(round(0.15 * torso), 2, max(2, height // 24)))
        rim = max(1, round(self.width / 6))  # a gap that separates crossing limbs
        self.edge = self.width + 2 * rim
        self.head = max(int(0.235 * torso * _ONE), _ONE)
        self.halo = self.head + rim * _ONE
        self.dot = int(0.22 * self.width * _ONE)

    def __call__(self, image: Frame, points: NDArray[np.int32], seen: NDArray[np.bool_], whole: bool) -> None:
        """points (14, 2) in 1/16 pixels; joints not ``seen`` are left out with their limbs (whole: none)."""
        theme = self.theme
        if whole or seen[_TRUNK].all():
            cv2.fillPoly(image, [points[_TRUNK]], theme.torso, cv2.LINE_AA, _SHIFT)
        for side, pairs in _SEGMENTS:
            lines = list(points[pairs if whole else pairs[seen[pairs].all(1)]])
            if lines:
                cv2.polylines(image, lines, False, theme.background, self.edge, cv2.LINE_AA, _SHIFT)
                cv2.polylines(image, lines, False, getattr(theme, side), self.width, cv2.LINE_AA, _SHIFT)
        if self.dot > 2 * _ONE:  # a smaller one would be a speck
            for j, centre in enumerate(points.tolist()):
                if j != _HEAD and (whole or seen[j]):
                    cv2.circle(image, centre, self.dot, theme.background, -1, cv2.LINE_AA, _SHIFT)
        if whole or seen[_HEAD]:
            centre = points[_HEAD].tolist()
            cv2.circle(image, centre, self.halo, theme.background, -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(image, centre, self.head, theme.middle, -1, cv2.LINE_AA, _SHIFT)


def _write_text(
    image: Frame,
    text: str,
    at: tuple[float, float],
    height: int,
    colour: Colour,
    room: float,
    anchor: str = "mm",
) -> None:
    """Write one line with its middle ("mm") or left end ("lm") at (x, y), cut to ``room`` pixels."""
    from PIL import Image, ImageDraw, ImageFont

    text, file = drawable(text)
    font = ImageFont.truetype(file, height)
    if font.getlength(text) > room:
        dots = "…" if drawable("…", (file,))[1] == file else "..."
        while text and font.getlength(text + dots) > room:
            text = text[:-1]
        text += dots
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).text(at, text, fill=colour, font=font, anchor=anchor)
    image[:] = np.asarray(canvas)


def _stage(view: View, width: int, height: int, theme: Theme) -> Frame:
    """Background, ground and floor line."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = theme.background
    floor = round(min(float(view.anchor[1]) + 0.06 * view.torso, height - 1))
    image[floor:] = theme.ground
    image[floor : floor + max(1, height // 300)] = theme.line
    return image


def _legend(image: Frame, text: int, theme: Theme) -> None:
    """Colours of the dancer's sides, in the lower left corner."""
    for side, x in (("right", 1.0), ("left", 4.6)):
        at = (x * text, image.shape[0] - 1.1 * text)
        _write_text(image, side, at, text, getattr(theme, side), image.shape[1], "lm")


def _theme(theme: str | Theme) -> Theme:
    if isinstance(theme, Theme):
        return theme
    if theme not in THEMES:
        raise D2MError(f"unknown theme '{theme}': choose one of {', '.join(THEMES)}")
    return THEMES[theme]


def _scene(
    dances: Sequence[Poses],
    captions: Sequence[str] | None,
    size: tuple[int, int],
    theme: Theme,
    legend: bool = True,
) -> tuple[View, Frame, _Painter]:
    """The view of all panels, the static background, and the painter."""
    width, height = size
    if min(width, height) < 32:
        raise D2MError(f"panels of {width}x{height} pixels are too small to draw in; give at least 32x32")
    text = max(9, round(min(size) / 28))
    view = fit(dances, size, top=round((2.4 if captions is not None else 0.8) * text), bottom=2 * text)
    background = _stage(view, width * len(dances), height, theme)
    for k in range(1, len(dances)):
        background[:, k * width] = theme.line
    for k, caption in enumerate(captions or ()):
        _write_text(background, caption, ((k + 0.5) * width, 1.3 * text), text, theme.text, 0.94 * width)
    if legend:
        _legend(background, max(8, round(0.75 * text)), theme)
    return view, background, _Painter(theme, view.torso, height)


def _frames(points: Poses, background: Frame, width: int, paint: _Painter) -> Iterator[Frame]:
    """points (panels, t, 14, 2) in pixels of a panel ``width`` wide."""
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=-1))
    whole: NDArray[np.bool_] = np.asarray(seen.all(axis=-1))
    known = np.clip(np.where(seen[..., None], points, 0.0), -_FAR, _FAR)
    fixed = np.round(known * _ONE).astype(np.int32)
    for t in range(points.shape[1]):
        frame = background.copy()
        for k in range(len(points)):
            paint(frame[:, k * width : (k + 1) * width], fixed[k, t], seen[k, t], bool(whole[k, t]))
        yield frame


def draw_dance(
    panels: Sequence[ArrayLike],
    captions: Sequence[str] | None = None,
    *,
    size: tuple[int, int] = (512, 512),
    fps_in: float = FPS,
    fps_out: float = VIDEO_FPS,
    n_frames_out: int | None = None,
    theme: str | Theme = "dark",
    legend: bool = True,
) -> Iterator[Frame]:
    """Draw dances side by side, at one scale, fitted to the whole of them.

    Args:
        panels: dances (t, 14, 2) or (t, 28), pixels with y down, at ``fps_in``; of a shorter one the last
            pose is held. Limbs of a NaN joint are not drawn.
        captions: one per panel.
        size: (width, height) of one panel in pixels.
        n_frames_out: frames to draw at ``fps_out``; default: the longest panel's duration.
        theme: "dark", "light" or a Theme.
        legend: label the colours of the dancer's sides.

    Returns:
        Iterator of ``n_frames_out`` frames (height, width * panels, 3), each an array of its own; frame k
        shows the dance at k / fps_out seconds.

    Raises:
        D2MError: at the call, for panels, captions, sizes or rates that cannot be drawn.
    """
    colours, dances = _theme(theme), check_panels(panels, captions)
    if not (fps_in > 0 and fps_out > 0):
        raise D2MError(f"cannot draw {fps_in} frames/s at {fps_out}; give rates above 0")
    if n_frames_out is None:
        n_frames_out = round(max(map(len, dances)) * fps_out / fps_in)
    view, background, paint = _scene(dances, captions, size, colours, legend)
    at = np.arange(n_frames_out, dtype=np.float64) * (fps_in / fps_out)
    points = np.stack([view.place(poses_at(dance, at), k) for k, dance in enumerate(dances)])
    return _frames(points, background, size[0], paint)


def frame_at(
    panels: Sequence[ArrayLike],
    seconds: float,
    captions: Sequence[str] | None = None,
    *,
    size: tuple[int, int] = (512, 512),
    fps: float = FPS,
    theme: str | Theme = "dark",
) -> Frame:
    """The one frame of :func:`draw_dance` at a time in seconds; the last pose beyond the end.

    Raises:
        D2MError: as :func:`draw_dance`.
    """
    dances = check_panels(panels, captions)
    view, background, paint = _scene(dances, captions, size, _theme(theme))
    at = np.array([seconds * fps])
    points = np.stack([view.place(poses_at(dance, at), k) for k, dance in enumerate(dances)])
    return next(_frames(points, background, size[0], paint))


def still(
    path: str | os.PathLike[str],
    dances: ArrayLike | Sequence[ArrayLike],
    n: int = 8,
    *,
    captions: Sequence[str] | None = None,
    seconds: tuple[float, float] | None = None,
    size: tuple[int, int] = (180, 240),
    fps: float = FPS,
    theme: str | Theme = "light",
) -> None:
    """Write a PNG strip: ``n`` poses, evenly spaced in time, each centred, one row per dance.

    Args:
        path: the .png file; written whole or not at all.
        dances: one dance (t, 14, 2), or a list of them.
        n: poses per row.
        captions: one per row.
        seconds: (start, end) of the time shown; default: all of it.
        size: (width, height) of one pose in pixels.

    Raises:
        D2MError: poses that cannot be drawn, an empty time range, or a file that cannot be written.
    """
    one = isinstance(dances, np.ndarray) and dances.shape[-2:] == (14, 2) and dances.ndim == 3
    rows, times = [], []
    for dance in check_panels([dances] if one else dances, captions):  # type: ignore[arg-type, list-item]
        start, end = seconds or (0.0, len(dance) / fps)
        first, last = round(start * fps), min(round(end * fps), len(dance)) - 1
        if n < 1 or not 0 <= first <= last:
            raise D2MError(f"no {n} poses between {start:g} and {end:g} s of a dance of {len(dance) / fps:g} s")
        chosen = np.linspace(first, last, n).round().astype(int)
        middle = np.array([np.mean(box(pose[None])[:2]) for pose in dance[chosen]])
        rows.append(dance[chosen] - np.stack([middle, np.zeros(n)], 1)[:, None])
        times.append(chosen / fps)
    colours, (width, height), text = _theme(theme), size, max(9, round(min(size) / 14))
    view = fit(rows, size, top=round((2.4 if captions is not None else 0.8) * text), bottom=2 * text)
    paint, strips = _Painter(colours, view.torso, height), []
    cells = np.stack([np.arange(n) * width, np.zeros(n)], 1)[:, None]
    for k, row in enumerate(rows):
        strip = _stage(view, n * width, height, colours)
        for x, at in zip(cells[:, 0, 0] + width / 2, times[k], strict=True):
            _write_text(strip, f"{at:.1f} s", (x, height - 1.1 * text), round(0.8 * text), colours.text, width)
        if captions is not None:
            _write_text(strip, captions[k], (text, 1.4 * text), text, colours.text, n * width - 2 * text, "lm")
        for pose in view.place(row, k) + cells:  # on one canvas: an arm may reach into the next cell
            strip = next(_frames(pose[None, None], strip, n * width, paint))
        strips.append(strip)
    _legend(strips[-1], round(0.8 * text), colours)
    with atomic_path(path) as temp:
        temp.write_bytes(cv2.imencode(".png", cv2.cvtColor(np.concatenate(strips), cv2.COLOR_RGB2BGR))[1].tobytes())
