"""Recordings that must not be separated by a split, because they hold the same song or the same poses."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

from d2m.prepare.plan import Line


def join_equal_songs(lines: Sequence[Line]) -> list[Line]:
    """Give lines with byte-identical audio files one common group, if their group is only the audio file's path."""
    first: dict[str, str] = {}
    return [
        replace(line, group=first.setdefault(line.audio_sha256, line.group))
        if line.audio_sha256 and line.group == os.path.normpath(line.audio)
        else line
        for line in lines
    ]


def join_same_poses(lines: Sequence[Line], digests: Sequence[str]) -> tuple[list[Line], list[list[str]]]:
    """Join the groups of lines that hold the same poses.

    These are lines with equal poses; with overlapping parts of one file, such as two cameras of it; and with any parts
    of one file, if they have no music and no group of their own.

    Args:
        digests: of every line's prepared poses; "" if unknown.

    Returns:
        The lines, and the names of those with equal poses.
    """
    joined: dict[str, str] = {}

    def leader(group: str) -> str:
        while (above := joined.get(group, group)) != group:
            group = above
        return group

    of_file: dict[str, list[Line]] = defaultdict(list)
    of_poses: dict[str, list[Line]] = defaultdict(list)
    for line, digest in zip(lines, digests, strict=True):
        of_file[line.pose_sha256].append(line)
        of_poses[digest].append(line)
    same = [members for digest, members in of_poses.items() if digest and len(members) > 1]
    pairs = [(a, b) for members in same for a, b in pairwise(members)]
    for digest, members in of_file.items():
        if digest:
            pairs += [(a, b) for a, b in combinations(members, 2) if _overlap(a, b) or (_unpaired(a) and _unpaired(b))]
    for a, b in pairs:
        joined[leader(b.group)] = leader(a.group)
    return [replace(line, group=leader(line.group)) for line in lines], [[m.name for m in members] for members in same]


def _overlap(a: Line, b: Line) -> bool:
    ends = [float("inf") if line.pose_end_s is None else line.pose_end_s for line in (a, b)]
    return max(a.pose_start_s, b.pose_start_s) < min(ends)


def _unpaired(line: Line) -> bool:
    return not line.audio and line.group == line.name
