"""The bibliography: sorted by author, named as the text names a source, with ways back to the text.

In the text a source is *Glorot and Bengio [2010]*. So the list is in the order of names and years,
and each entry begins with these words. At its end stands where it is cited.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as Unsorted
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from sphinx.transforms.post_transforms import SphinxPostTransform

from .contents import pages

STYLE = "course"  # as in bibtex_default_style of _config.yml


def surname(person: Any) -> str:
    """Return the name under which a text cites a person: "van der Maaten".

    Examples
    --------
    >>> from pybtex.database import Person
    >>> surname(Person("van der Maaten, Laurens")), surname(Person("Mahoney, Michael W."))
    ('van der Maaten', 'Mahoney')
    """
    return " ".join(map(str, [*person.rich_prelast_names, *person.rich_last_names]))


def without_accents(text: str) -> str:
    """Return a text as it is sorted.

    Examples
    --------
    >>> without_accents("Bücher")
    'bucher'
    """
    apart = unicodedata.normalize("NFD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


class _Labels(BaseLabelStyle):
    """Glorot and Bengio, 2010; with three authors "et al."; a letter where two are the same."""

    def format_labels(self, sorted_entries: list[Any]) -> Iterator[str]:
        labels = [self._label(entry) for entry in sorted_entries]
        count, seen = Counter(labels), Counter[str]()
        for label in labels:
            seen[label] += 1
            yield label + (chr(ord("a") + seen[label] - 1) if count[label] > 1 else "")

    def _label(self, entry: Any) -> str:
        names = [surname(person) for person in entry.persons["author"]]
        who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        return f"{who}, {entry.fields['year']}"


class _Sorting(BaseSortingStyle):
    """By the names of the authors, then by year and title."""

    def sorting_key(self, entry: Any) -> tuple[list[str], str, str]:
        names = [without_accents(surname(person)) for person in entry.persons["author"]]
        return names, entry.fields["year"], entry.fields["title"]


class Style(Unsorted):
    """What the entries of the bibliography look like: as in "unsrt", but for order and label."""

    default_label_style = STYLE
    default_sorting_style = STYLE


class CitedIn(SphinxPostTransform):
    """Adds to each entry the pages that cite it; the links lead to the first place on a page."""

    default_priority = 6  # sphinxcontrib-bibtex makes the entries at 5; links are resolved at 10

    def run(self, **kwargs: Any) -> None:
        """Add the links."""
        domain = self.env.get_domain("cite")
        keys = {citation.citation_id: citation.key for citation in domain.citations}
        order = {page.name: i for i, page in enumerate(pages(self.app.srcdir))}
        for entry in self.document.findall(nodes.citation):
            first: dict[str, str] = {}
            for found in domain.citation_refs:  # in the order of each page
                if keys.get(entry["ids"][0]) in {target.key for target in found.targets}:
                    first.setdefault(found.docname, found.citation_ref_id)
            if first:
                line = nodes.paragraph("", "Cited in ", classes=["cited-in"])
                for i, name in enumerate(sorted(first, key=lambda name: order[name])):
                    line += nodes.Text(", " if i else "")
                    line += self._link(name, first[name])
                line += nodes.Text(".")
                entry += line

    def _link(self, name: str, anchor: str) -> nodes.reference:
        here, builder = self.env.docname, self.app.builder
        uri = f"{builder.get_relative_uri(here, name)}#{anchor}"
        return nodes.reference("", self.env.titles[name].astext(), internal=True, refuri=uri)


def setup(app: Any) -> None:
    """Register with pybtex and Sphinx."""
    register_plugin("pybtex.style.formatting", STYLE, Style)
    register_plugin("pybtex.style.labels", STYLE, _Labels)
    register_plugin("pybtex.style.sorting", STYLE, _Sorting)
    app.add_post_transform(CitedIn)
    # Which pages cite a source is known when all are read, whatever has changed among them.
    app.connect("env-updated", lambda app, env: ["reference/bibliography"])
