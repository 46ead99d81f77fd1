"""An interactive figure on its page, used as a reader uses it who has no mouse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from selenium.webdriver.common.keys import Keys

from tests.book.figure_places import places

PAGES = {place.name: place.page for place in places()}


class Figure:
    """One figure in the open page; every control is worked by keys."""

    def __init__(
        self,
        page: Any,
        html: Path,
        name: str,
        *,
        on: str | None = None,
        formulas: bool = False,
        **options: Any,
    ) -> None:
        self.page = page
        self.name = name
        url = (html / f"{on or PAGES[name]}.html").as_uri()
        page.open(url, formulas=formulas, **options)
        self.box = self.element("")

    def element(self, selector: str) -> Any:
        """Return an element inside of the figure, scrolled to."""
        found = self.page.driver.find_element(
            "css selector", f'[data-figure="{self.name}"] {selector}'.strip()
        )
        self.page.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found)
        return found

    def press(self, key: str, *keys: str) -> None:
        """Focus the control that the script calls `key`, and press keys: "right", "down", ..."""
        control = self.element(f"#{self.name}-{key}")
        control.send_keys(*(getattr(Keys, f"ARROW_{name.upper()}") for name in keys))

    def to_end(self, key: str, end: float) -> None:
        """Press Home or End, whichever brings a slider there."""
        control = self.element(f"#{self.name}-{key}")
        low = float(control.get_attribute("min")) == end
        control.send_keys(Keys.HOME if low else Keys.END)
        assert self.value(key) == end

    def choose(self, key: str, value: str) -> None:
        """Walk down a list by the arrow key until it stands on a value."""
        control = self.element(f"#{self.name}-{key}")
        control.send_keys(Keys.HOME)
        while control.get_property("value") != value:
            before = control.get_property("value")
            control.send_keys(Keys.ARROW_DOWN)
            assert control.get_property("value") != before, f"{key} has no {value}"

    def push(self, label: str, times: int = 1) -> None:
        """Push a button with the Enter key."""
        for button in self.box.find_elements("css selector", "button"):
            if button.text == label:
                self.page.js(
                    "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button
                )
                button.send_keys(*[Keys.ENTER] * times)
                return
        raise AssertionError(f"{self.name} has no button {label!r}")

    def wait(self, milliseconds: int) -> None:
        """Let time pass in the page; a figure that plays takes its steps meanwhile."""
        script = "const [ms, done] = arguments; setTimeout(done, ms);"
        self.page.driver.execute_async_script(script, milliseconds)

    def pause(self, after: int = 0) -> None:
        """Pause what plays after so many milliseconds, in the page: this end may be slow."""
        script = """
        const [box, ms, done] = arguments;
        const push = (b) => b.textContent === "Pause" && b.click();
        setTimeout(() => done(box.querySelectorAll("button").forEach(push)), ms);
        """
        self.page.driver.execute_async_script(script, self.box, after)

    def value(self, key: str) -> float:
        """Return where a slider stands."""
        return float(self.element(f"#{self.name}-{key}").get_property("value"))

    @property
    def text(self) -> str:
        """The sentence with the numbers, with minus signs that Python can read."""
        return str(self.element(".numbers").text).replace("−", "-")

    @property
    def numbers(self) -> list[float]:
        """All numbers of the sentence, in order."""
        return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", self.text)]

    @property
    def drawing(self) -> str:
        """All that is drawn."""
        return str(
            self.page.js("return arguments[0].querySelector('.pictures').innerHTML", self.box)
        )

    @property
    def labels(self) -> list[str]:
        """What a reader who cannot see the pictures is told of them."""
        script = "return [...arguments[0].querySelectorAll('svg[role=img]')].map(e => e.ariaLabel)"
        return [str(label).replace("−", "-") for label in self.page.js(script, self.box)]

    @property
    def height(self) -> float:
        """How tall the figure is; using it must not move what stands below."""
        return float(self.box.rect["height"])
