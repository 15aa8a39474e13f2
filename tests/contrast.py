"""Whether what a page says can be read: contrast as WCAG 2 counts it."""

import re

from tests.browser import Browser

COLOURS = """
[...document.body.querySelectorAll('*')].filter(it => it.checkVisibility() && !it.closest('svg, thead'))
  .filter(it => [...it.childNodes].some(one => one.nodeType == 3 && one.textContent.trim()))
  .map(it => {
    let behind = it
    while (behind && getComputedStyle(behind).backgroundColor == 'rgba(0, 0, 0, 0)') behind = behind.parentElement
    return [it.outerHTML.slice(0, 60), getComputedStyle(it).color, getComputedStyle(behind).backgroundColor]
  })
"""


def hexadecimal(colour: str) -> str:
    return "".join(f"{int(part):02x}" for part in re.findall(r"\d+", colour)[:3])


def luminance(colour: str) -> float:
    """As WCAG 2 counts it, of #rgb or #rrggbb."""
    digits = "".join(digit * 2 for digit in colour) if len(colour) == 3 else colour
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def must_stand_out(chromium: Browser, *, more_than: int) -> None:
    """Every text on the page that is open, and there are more than so many, from what is behind it."""
    found = chromium.js(COLOURS)
    assert len(found) > more_than
    for what, front, behind in found:
        one, other = sorted((luminance(hexadecimal(front)), luminance(hexadecimal(behind))))
        assert (other + 0.05) / (one + 0.05) >= 4.5, (what, front, behind)
