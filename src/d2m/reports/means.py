"""A bundle with the genre means of a user's own songs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from d2m.bundle import FILES, MOTION_STYLE, Bundle, write_bundle
from d2m.core.errors import D2MError
from d2m.dance.table import LatentTable

_CARD_LINE = re.compile(r"^- Genre means:.*$", re.MULTILINE)


def check_target(bundle: Bundle, out: Path) -> list[Path]:
    """Files in ``out`` that are not part of a bundle and must stay, such as an import's checkpoints to resume from.

    Raises:
        D2MError: it is not a bundle, or it is another bundle with further files that would be lost.
    """
    foreign = out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "provenance.json").is_file())
    if foreign:
        raise D2MError(f"out={out}: exists and is not a bundle; choose another folder")
    beside = sorted(p for p in out.iterdir() if p.name not in {*FILES, MOTION_STYLE}) if out.is_dir() else []
    if beside and out.resolve() != bundle.folder.resolve():
        raise D2MError(
            f"out={out}: contains {beside[0].name} besides a bundle and would be replaced; choose another folder"
        )
    return beside


def write_means(bundle: Bundle, out: Path, table: LatentTable, keep: bool) -> dict[str, int]:
    """Write the bundle with the means of a table's songs, atomically and with a new seal; returns genre -> songs.

    Args:
        out: may be the bundle itself.
        keep: also keep means of the bundle's other genres.

    Raises:
        D2MError: see :func:`check_target`, or it cannot be written.
    """
    beside = check_target(bundle, out)
    means, songs = table.genre_means(), table.by_song()
    counts = {g: int((songs.genre == g).sum()) for g in songs.genres}
    kept = sorted(set(bundle.genre_means) - set(means)) if keep else []
    history = {
        "genres": counts, "front_end": table.meta["front_end"], "noise_draws": table.meta["n_noise"],
        "seed": table.meta["seed"], "kept": kept,
    }  # fmt: skip
    provenance = {k: v for k, v in bundle.provenance.items() if k not in ("seal", "files")}
    provenance["genre_means"] = [*provenance.get("genre_means", []), history]

    def carry(folder: Path) -> None:
        for path in beside:
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, folder / path.name, symlinks=True)
            else:
                shutil.copy2(path, folder / path.name, follow_symlinks=False)

    write_bundle(
        out,
        config={k: v for k, v in bundle.config.items() if k != "format"},
        state=bundle.state,
        normalizer=bundle.normalizer,
        genres=bundle.genres,
        genre_means={**(bundle.genre_means if keep else {}), **means},
        provenance=provenance,
        motion_style=bundle.motion_style,
        card=_card((bundle.folder / "CARD.md").read_text(), counts, kept),
        extra=carry,
    )
    return counts


def _card(card: str, counts: dict[str, int], kept: list[str]) -> str:
    """The model card with its line about genre means replaced."""
    listed = ", ".join(f"{g} ({n} songs)" for g, n in counts.items())
    line = f"- Genre means: {listed}, the user's own (d2m study means)" + (f"; kept: {', '.join(kept)}" if kept else "")
    if _CARD_LINE.search(card):
        return _CARD_LINE.sub(lambda _: line, card, count=1)
    return f"{card.rstrip()}\n\n{line}\n"
