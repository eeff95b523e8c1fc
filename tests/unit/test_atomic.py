"""Files that appear together or not at all."""

from pathlib import Path

import pytest

from d2m.core.errors import D2MError
from d2m.core.files import appear_together, write_json


def test_files_appear_together(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with appear_together(tmp_path) as part:
        (part / "a.txt").write_text("new")
        (part / "b.txt").write_text("b")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "new", "b.txt": "b"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), D2MError, ValueError()])
def test_after_an_error_everything_is_as_before(error: object, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    wanted = ValueError if isinstance(error, ValueError) else D2MError
    with pytest.raises(wanted) as raised, appear_together(tmp_path) as part:
        (part / "a.txt").write_text("new")
        raise D2MError(f"{part / 'a.txt'}: full") if error is D2MError else error  # type: ignore[misc]
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "old"}
    if wanted is D2MError:
        assert str(tmp_path) in str(raised.value) and ".tmp" not in str(raised.value)


def test_json_that_cannot_be_written_is_an_error_of_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(D2MError, match=r"facts\.json.*No space left"):
        write_json(tmp_path / "facts.json", {})
    assert not list(tmp_path.iterdir())
