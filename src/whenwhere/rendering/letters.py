"""Text of figures: how wide it is, and fonts for letters that the usual one lacks."""

from __future__ import annotations

import warnings

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from whenwhere.rendering.strip import fit_text, text_font

USUAL = "DejaVu Sans"  # comes with matplotlib; Latin, Greek, Cyrillic, Arabic, Hebrew
# What Linux, Windows and macOS bring for other scripts; the first that has a letter draws it.
OTHERS = (
    "WenQuanYi Zen Hei", "Noto Sans CJK JP", "Noto Sans CJK SC", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic",
    "Nirmala UI", "Leelawadee UI", "Arial Unicode MS", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil",
    "Noto Sans Thai",
)  # fmt: skip


def text_inches(text: str, points: float) -> float:
    """Width of a text in the usual font."""
    return text_font(100).getlength(text) * points / 7200


def fit_inches(text: str, inches: float, points: float) -> str:
    """``text``, cut with an ellipsis to at most ``inches``."""
    return fit_text(text, text_font(100), 7200 * inches / points)


def choose_fonts(figure: Figure) -> None:
    """Let every text of the figure take letters that the usual font lacks from another one that is installed.

    Warns:
        UserWarning: of letters that no font has; they are drawn as empty boxes.
    """
    texts = [one for one in figure.findobj(Text) if isinstance(one, Text)]
    wanted = {ord(letter) for one in texts for letter in one.get_text() if letter.isprintable()}
    families, lacking = [USUAL], wanted - _letters(font_manager.findfont(USUAL))
    installed = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    for name in OTHERS:
        if lacking and name in installed and (found := lacking & _letters(installed[name])):
            families.append(name)
            lacking -= found
    for one in texts if len(families) > 1 else ():
        one.set_fontfamily(families)
    if lacking:
        letters = " ".join(map(chr, sorted(lacking)))
        warnings.warn(
            f"no font of this computer has {letters}; install one that has, Noto Sans CJK for instance", stacklevel=3
        )


def _letters(file: str) -> set[int]:
    return set(FT2Font(file).get_charmap())
