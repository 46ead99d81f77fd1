"""Formulas as short plain text, for places where none can be set: what a search shows of a page."""

from __future__ import annotations

import re
import unicodedata

from docutils.utils.math import tex2unichar

LONGEST = 40
LEFT_OUT = "…"

_SIGNS = {
    **tex2unichar.mathalpha,
    **tex2unichar.mathbin,
    **tex2unichar.mathop,
    **tex2unichar.mathord,
    **tex2unichar.mathrel,
    **tex2unichar.mathfence,
    **tex2unichar.mathopen,
    **tex2unichar.mathclose,
    **dict.fromkeys(("left", "right", "big", "Big", "bigl", "bigr", "limits", "displaystyle"), ""),
    **dict.fromkeys(("quad", "qquad", " ", ",", ";", ":"), " "),
    "!": "",
    # Not yet as they are printed: braces that are left would be taken for those of TeX.
    "{": "\N{LEFT WHITE CURLY BRACKET}",
    "}": "\N{RIGHT WHITE CURLY BRACKET}",
    "%": "%",
    "_": "_",
    "top": "ᵀ",
    "dots": "…",
    "ldots": "…",
    "cdots": "…",
    "epsilon": "ε",
    "varepsilon": "ε",
    "phi": "φ",
    "odot": "⊙",
}
_PRINTED = str.maketrans("\N{LEFT WHITE CURLY BRACKET}\N{RIGHT WHITE CURLY BRACKET}", "{}")
_FUNCTIONS = "log exp max min arg sin cos tan tanh det dim sup inf lim gcd ln Pr mod".split()
_ACCENTS = {"hat": "\u0302", "tilde": "\u0303", "bar": "\u0304", "dot": "\u0307", "vec": "\u20d7"}
_RAISED = str.maketrans("0123456789+-−n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")
_NAMES = r"\\(?:text|textrm|textbf|mathrm|mathbf|mathsf|mathcal|mathbb|boldsymbol|operatorname\*?)"
# From the inside to the outside: what stands in braces has none of its own any more.
_INSIDE = (
    (re.compile(_NAMES + r"\s*\{([^{}]*)\}"), lambda m: m[1]),
    (
        re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"),
        lambda m: f"{_one(m[1])}/{_one(m[2])}",
    ),
    (re.compile(r"\\[dt]?frac\s*(\w)\s*(\w)"), lambda m: f"{m[1]}/{m[2]}"),
    (re.compile(r"\\sqrt\s*\{([^{}]*)\}"), lambda m: f"√{_one(m[1])}"),
    (
        re.compile(r"\\(hat|tilde|bar|dot|vec)\s*(?:\{(\w)\}|(\w))"),
        lambda m: (m[2] or m[3]) + _ACCENTS[m[1]],
    ),
    (re.compile(r"\^\s*(?:\{([\d+−n-]+)\}|(\d|n\b))"), lambda m: (m[1] or m[2]).translate(_RAISED)),
    (re.compile(r"([\^_])\s*\{([^{}\\]*)\}"), lambda m: _index(m[1], m[2])),
)
_COMMAND = re.compile(r"\\([A-Za-z]+|.)")


def _one(part: str) -> str:
    """Return a part of a fraction, in brackets if it is more than one thing."""
    part = part.strip()
    return part if re.fullmatch(r"[\w.^²³√]+", part) else f"({part})"


def _index(sign: str, part: str) -> str:
    return sign + (part.strip() if re.fullmatch(r"\s*[\w,*]+\s*", part) else f"({part.strip()})")


def _sign(found: re.Match[str]) -> str:
    name = found[1]
    return f" {name} " if name in _FUNCTIONS else _SIGNS.get(name, found[0])


def plain(tex: str) -> str:
    r"""Return a formula as a reader would type it, or an ellipsis if it cannot be typed shortly.

    Examples
    --------
    >>> plain(r"\(W^\top x + b\)"), plain(r"\frac{1}{N} \sum_i \ell_i")
    ('Wᵀ x + b', '1/N ∑_i ℓ_i')
    >>> plain(r"\begin{pmatrix} 1 & 2 \end{pmatrix}")
    '…'
    """
    text = re.sub(r"^\\[(\[]|\\[)\]]$", "", tex.strip())
    text = re.sub(r"\^\s*\{?\\top\}?", r"\\top ", text)
    text = _COMMAND.sub(_sign, text)
    before = None
    while before != text:
        before = text
        for pattern, written in _INSIDE:
            text = pattern.sub(written, text)
    if re.search(r"[\\{}&]", text):
        return LEFT_OUT
    text = " ".join(text.replace("~", " ").translate(_PRINTED).split())
    text = re.sub(r"(?<=[(\[]) | (?=[,.)\]])", "", text)
    text = re.sub(rf"\b({'|'.join(_FUNCTIONS)}) (?=\()", r"\1", text)
    text = unicodedata.normalize("NFC", text)
    return text if 0 < len(text) <= LONGEST else LEFT_OUT
