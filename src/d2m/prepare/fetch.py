"""Downloads through yt-dlp (the extra ``collect``): once, politely, and resumable."""

from __future__ import annotations

import errno
import hashlib
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d2m.core.errors import D2MError

#: HTTP statuses that are worth a retry; all other errors (404, 403, "private video") are permanent.
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_BROKEN = frozenset(("TransportError", "IncompleteRead", "ContentTooShortError"))
#: Errors of the disk, not of the network.
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS))
_MAX_WAIT_S = 120.0
_UNFINISHED = (".part", ".ytdl", ".temp")


class _Silent:
    """Logger for yt-dlp that keeps only the last error."""

    def debug(self, message: str) -> None: ...
    def info(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...


@dataclass
class Fetcher:
    """Downloads URLs into a folder.

    folder: files are named by their url's hash; finished files are never requested again, partial ones resume
    by a range request. video: fetch the best file with pictures instead of the best sound. retries: number of retries
    after temporary errors (429, 5xx, broken connections), with waits of ``wait_s``, twice that, four times that, ...
    pause_s: between two downloads. rate_limit: bytes/s, 0 is none.
    """

    folder: Path
    video: bool = False
    retries: int = 4
    wait_s: float = 2.0
    pause_s: float = 2.0
    rate_limit: int = 0
    sleep: Callable[[float], None] = time.sleep
    _last: float | None = field(default=None, repr=False)

    def stem(self, url: str) -> str:
        """The name, without suffix, of a url's file in the folder."""
        return hashlib.sha256(f"{url}\0{'video' if self.video else 'audio'}".encode()).hexdigest()[:20]

    def cached(self, url: str) -> Path | None:
        """The file, if it has been fetched already."""
        done = [p for p in sorted(self.folder.glob(f"{self.stem(url)}.*")) if p.suffix not in _UNFINISHED]
        return next((p for p in done if not any(s in _UNFINISHED for s in p.suffixes)), None)

    def get(self, url: str) -> Path:
        """The file of a URL, downloaded if needed.

        Raises:
            D2MError: not http(s), yt-dlp not installed, or the last try failed.
        """
        if not url.lower().startswith(("http://", "https://")):
            raise D2MError(f"{url}: not an http(s) address; put local files into the column path")
        cached = self.cached(url)
        if cached is not None:
            return cached
        try:
            downloader: Any = importlib.import_module("yt_dlp")
        except ImportError as e:
            raise D2MError("downloads need yt-dlp; install it with pip install 'd2m[collect]'") from e
        for attempt in range(self.retries + 1):
            self._be_polite()
            try:
                return self._download(downloader, url)
            except downloader.utils.YoutubeDLError as e:
                if not _passes(e) or attempt == self.retries:
                    raise D2MError(f"{url}: download failed ({_reason(e)}); check the address, or try later") from e
            self._wait(attempt)
        raise AssertionError("unreachable")

    def _wait(self, n: int) -> float:
        """Wait before try n + 1; returns 0, so that yt-dlp itself does not wait."""
        self.sleep(min(self.wait_s * 2.0**n, _MAX_WAIT_S))
        return 0.0

    def _be_polite(self) -> None:
        if self._last is not None:
            left = self._last + self.pause_s - time.monotonic()
            if left > 0:
                self.sleep(left)
        self._last = time.monotonic()

    def _download(self, downloader: Any, url: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {
            "outtmpl": str(self.folder.absolute() / self.stem(url)).replace("%", "%%") + ".%(ext)s",
            # One file with sound and picture: merging two would need the ffmpeg program.
            "format": "best[vcodec!=none][acodec!=none]/best" if self.video else "bestaudio/best",
            "quiet": True, "no_warnings": True, "noprogress": True, "logger": _Silent(), "noplaylist": True,
            "playlist_items": "1", "cachedir": False, "updatetime": False, "fixup": "never", "continuedl": True,
            # Failed page requests are retried by get(), broken transfers by yt-dlp, which resumes them.
            "retries": self.retries, "retry_sleep_functions": {"http": self._wait, "fragment": self._wait},
            "fragment_retries": self.retries, "extractor_retries": 0, "socket_timeout": 30,
            "sleep_interval_requests": min(self.pause_s, 1.0), "ratelimit": self.rate_limit or None,
        }  # fmt: skip
        with downloader.YoutubeDL(options) as session:
            session.extract_info(url, download=True)
        cached = self.cached(url)
        if cached is None:
            raise D2MError(f"{url}: nothing to download; give the address of one video or audio file")
        return cached


def _passes(error: BaseException) -> bool:
    """Whether another try may succeed: a temporary HTTP status, or a broken connection."""
    links = _chain(error)
    for link in links:
        status = getattr(link, "status", None) or getattr(link, "code", None)
        if isinstance(status, int):
            return status in _PASSING
    if any(getattr(link, "errno", None) in _FULL for link in links):
        return False
    return any(isinstance(link, OSError) or type(link).__name__ in _BROKEN for link in links)


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    todo: list[Any] = [error]
    while todo:
        link = todo.pop(0)
        if isinstance(link, BaseException) and link not in links:
            links.append(link)
            todo += [link.__cause__, link.__context__, getattr(link, "cause", None)]
            todo += list(getattr(link, "exc_info", None) or ())[1:2]
    return links


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()).removeprefix("ERROR: ").removeprefix("[generic] ")
    return text.split("; please report")[0].split(" (caused by")[0][:160] or type(error).__name__
