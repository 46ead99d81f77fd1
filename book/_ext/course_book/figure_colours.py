"""Where the page is dark: the colour that takes the place of each colour of a figure.

A grey keeps its place between the colour of the letters and that of the page. A pale colour, which
fills boxes behind letters, becomes a dark one. All others become light enough to be seen.
"""

from __future__ import annotations

import math

# The theme's letters and page in the dark. tests/browser/test_figures.py looks whether they are.
LETTERS, PAGE = "#ced6dd", "#121212"
# Lightness in OKLab, from 0 to 1, from which on a colour is pale.
_PALE = 0.8
_GREY = 0.02  # OKLab's distance from grey


def rgb(colour: str) -> tuple[float, float, float]:
    """Return the three channels of ``#rrggbb``, from 0 to 1."""
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b


def luminance(colour: str) -> float:
    """Return the relative luminance as WCAG defines it.

    Examples
    --------
    >>> luminance("#ffffff"), luminance("#000000")
    (1.0, 0.0)
    """
    r, g, b = map(_linear, rgb(colour))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG defines it, from 1 to 21.

    Examples
    --------
    >>> contrast("#000000", "#ffffff")
    21.0
    """
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def in_the_dark(colour: str) -> str:
    """Return the colour that a dark page shows instead of this one.

    Examples
    --------
    >>> in_the_dark("#ffffff") == PAGE, in_the_dark("#000000") == LETTERS
    (True, True)
    >>> contrast(in_the_dark("#0072b2"), PAGE) > 4.5
    True
    """
    lightness, a, b = _to_oklab(colour)
    if math.hypot(a, b) < _GREY:
        share = sum(rgb(colour)) / 3
        ends = zip(rgb(LETTERS), rgb(PAGE), strict=True)
        return _hex([letter + share * (page - letter) for letter, page in ends])
    if lightness > _PALE:
        new = 0.19 + 1.1 * (1 - lightness)
    else:  # at least 0.6, where the contrast is 4.5; what was lighter stays lighter
        new = 0.6 + 0.055 * lightness + 0.8 * max(lightness - 0.55, 0)
    return _from_oklab(new, a, b)


def mixed(colour: str, opacity: float) -> str:
    """Return how a colour looks on the dark page that shines through it.

    Examples
    --------
    >>> mixed("#ffffff", 0) == PAGE, mixed("#ffffff", 1)
    (True, '#ffffff')
    """
    both = zip(rgb(colour), rgb(PAGE), strict=True)
    return _hex([opacity * own + (1 - opacity) * page for own, page in both])


def letters_on(colour: str, ground: str) -> str:
    """Return a colour for letters on a ground, this one if it can be read there."""
    if contrast(colour, ground) >= 4.5:
        return colour
    return max(LETTERS, PAGE, key=lambda end: contrast(end, ground))


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _gamma(channel: float) -> float:
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055


def _to_oklab(colour: str) -> tuple[float, float, float]:
    """Ottosson 2020: equal steps in these coordinates look equally large."""
    r, g, b = map(_linear, rgb(colour))
    l_ = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    m_ = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    s_ = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return (
        0.2104542553 * l_ + 0.7936177850 * m_ - 0.0040720468 * s_,
        1.9779984951 * l_ - 2.4285922050 * m_ + 0.4505937099 * s_,
        0.0259040371 * l_ + 0.7827717662 * m_ - 0.8086757660 * s_,
    )


def _from_oklab(lightness: float, a: float, b: float) -> str:
    """Go back; a colour that no screen can show moves towards grey until one can."""
    for step in range(21):
        share = 1 - step / 20
        l_ = (lightness + share * (0.3963377774 * a + 0.2158037573 * b)) ** 3
        m_ = (lightness - share * (0.1055613458 * a + 0.0638541728 * b)) ** 3
        s_ = (lightness - share * (0.0894841775 * a + 1.2914855480 * b)) ** 3
        channels = (
            4.0767416621 * l_ - 3.3077115913 * m_ + 0.2309699292 * s_,
            -1.2684380046 * l_ + 2.6097574011 * m_ - 0.3413193965 * s_,
            -0.0041960863 * l_ - 0.7034186147 * m_ + 1.7076147010 * s_,
        )
        if all(-1e-4 <= channel <= 1.0001 for channel in channels):
            break
    return _hex([_gamma(min(max(channel, 0.0), 1.0)) for channel in channels])


def _hex(channels: list[float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
