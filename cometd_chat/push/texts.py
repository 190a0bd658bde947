"""Texts of pushes in other languages (GMS option `localizationFileLocation`).

An INI file with a section for each language, and in it `message` and `title`:

    [de]
    message = Neue Nachricht
    [pt-BR]
    message = Nova mensagem
"""

from configparser import ConfigParser, Error
from pathlib import Path

from .wording import Texts, language_tag


class TextsError(Exception):
    """The file cannot be read, or is no INI file."""


def load_texts(path: Path | None) -> Texts:
    """Return the texts by language and key; none without a file.

    Raises: TextsError.
    """
    if path is None:
        return {}
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, Error) as exc:
        raise TextsError(f"{path}: {type(exc).__name__}") from None
    return {language_tag(name): dict(parser[name]) for name in parser.sections()}
