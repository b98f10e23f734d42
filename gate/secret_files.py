"""Secrets that stand in files, and where those files are."""

import os
from pathlib import Path

DOCKER_SECRETS = Path("/run/secrets")


def secret_path(file: Path, *, docker: Path = DOCKER_SECRETS) -> Path:
    """Where `file` is: a bare name is looked for among the secrets that were handed to this process.

    First among systemd's credentials (`LoadCredential=door:…` puts them into `$CREDENTIALS_DIRECTORY`), then among
    Docker's secrets; one that is in neither, and any path with a folder in it, is taken as it stands.
    """
    if file.name != str(file):
        return file
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    folders = ([Path(credentials)] if credentials else []) + [docker]
    return next((folder / file for folder in folders if (folder / file).is_file()), file)


def read_secret(file: Path) -> str:
    """The text of a secret's file without its trailing newline, of either kind.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not UTF-8 text.
    """
    return secret_path(file).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")


def version_of(file: Path) -> tuple[int, int, int] | None:
    """Something that differs once the secret's file has been written or replaced; None while there is none."""
    try:
        found = secret_path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
