"""Dances by song, read on demand, so that only those of one song are in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from d2m.core.errors import D2MError
from d2m.metrics.figure import DanceToSong


class SongDances(Mapping[str, list[DanceToSong]]):
    """Song -> its dances, with songs in alphabetical order, so that the order of the input does not matter.

    Args:
        dances: several to one song are draws or views. If the sequence reads its dances from disk, those of one song
            are requested together, again for every figure.
        prepare: applied to each dance whenever it is read.
        check: called once with each dance as it was given.

    Raises:
        D2MError: one song under two genres, or what ``check`` raises.
    """

    def __init__(
        self,
        dances: Sequence[DanceToSong],
        prepare: Callable[[DanceToSong], DanceToSong],
        check: Callable[[DanceToSong], None],
    ) -> None:
        self._dances, self._prepare = dances, prepare
        genres: dict[str, set[str]] = {}
        places: dict[str, list[int]] = {}
        for k, dance in enumerate(dances):
            check(dance)
            genres.setdefault(dance.song, set()).add(dance.genre)
            places.setdefault(dance.song, []).append(k)
        for name, of_song in genres.items():
            if len(of_song) > 1:
                raise D2MError(f"{name}: dances to one song are of genres {', '.join(sorted(of_song))}")
        self._places = dict(sorted(places.items()))
        self.genres = [genres[name].pop() for name in self._places]

    def __getitem__(self, song: str) -> list[DanceToSong]:
        return [self._prepare(self._dances[k]) for k in self._places[song]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
