"""Keys are read in two forms, and refused without being quoted."""

import base64
from pathlib import Path

import pytest

from gate.errors import ConfigError
from gate.publish.sealing import AesGcmSeal, UnsealError, read_key

KEY = bytes(range(32))


@pytest.mark.parametrize("text", [base64.b64encode(KEY).decode(), KEY.hex(), KEY.hex().upper() + "\n"])
def test_a_key_is_base64_or_hex(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    assert read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("text", ["", "hunter2", KEY.hex()[:-2], base64.b64encode(KEY + b"x").decode(), "schlüssel"])
def test_what_is_no_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"spool\.key_file .*openssl rand -base64 32") as caught:
        read_key(tmp_path / "key")
    assert not text or text not in str(caught.value)


def test_a_key_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_key(tmp_path / "key")


def test_what_is_sealed_opens_with_its_key_and_in_its_place_alone() -> None:
    seal = AesGcmSeal(KEY)
    sealed = seal.close(b"a face", b"1")
    assert seal.open(sealed, b"1") == b"a face"
    assert seal.close(b"a face", b"1") != sealed
    for data, about, key in (
        (sealed, b"2", KEY),
        (sealed[:-1], b"1", KEY),
        (b"", b"1", KEY),
        (sealed, b"1", bytes(32)),
    ):
        with pytest.raises(UnsealError):
            AesGcmSeal(key).open(data, about)
