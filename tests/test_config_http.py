from typing import Any

import pytest

from gate.config import GateConfig, build_config
from gate.errors import ConfigError

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only written down
FILES = {"cert_file": "c.pem", "key_file": "k.pem"}


def config_of(http: dict[str, Any], *, images: bool = False) -> GateConfig:
    cameras = [{"name": "door", "url": "virtual:"}]
    return build_config({"cameras": cameras, "http": http, "page": {"images": images}})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_what_only_this_machine_can_reach_asks_for_nothing(host: str) -> None:
    assert config_of({"host": host}, images=True).http.host == host


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.0.2.7", "gate.lan", "127.0.0.1.nip.example", ""])
def test_any_other_address_asks_for_a_token_tls_or_a_plain_word(host: str) -> None:
    with pytest.raises(ConfigError, match=r"http: host .*set token_file \(or tls\), or insecure: true") as failure:
        config_of({"host": host})
    assert len(str(failure.value).splitlines()) == 1
    for enough in ({"token_file": "t"}, {"tls": FILES}, {"insecure": True}):
        assert config_of({"host": host, **enough}).http.host == host


def test_faces_are_not_shown_to_whoever_comes_along() -> None:
    with pytest.raises(ConfigError, match=r"page.images shows faces to whoever reaches 0.0.0.0"):
        config_of({"host": EVERYWHERE, "tls": FILES}, images=True)
    for enough in ({"token_file": "t"}, {"tls": {**FILES, "client_ca_file": "ca.pem"}}, {"insecure": True}):
        assert config_of({"host": EVERYWHERE, **enough}, images=True).page.images
