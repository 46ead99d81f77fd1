"""The search of the book: what comes first, what is shown of it, and where it leads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.book.html_faults import _anchors
from tests.browser.test_every_page import faults
from tests.patience import patient

# What a reader types, and the page and the section that explain it: chosen by reading the book.
FIRST = {
    "gradient checking": "gradient_checking#gradient-checking",
    "cross entropy": "losses#",
    "cross-entropy": "losses#",
    "chain rule": "backpropagation#backpropagation",
    "learning rate": "gradient_descent#",
    "step size": "gradient_descent#",
    "overfitting": "batches_validation#underfitting-and-overfitting",
    "over-fitting": "batches_validation#underfitting-and-overfitting",
    "bubble": "pipeline_tensor#the-bubble",
    "all-reduce": "collectives#all-reduce-three-simple-ways",
    "allreduce": "collectives#all-reduce-three-simple-ways",
    "ring all-reduce": "collectives#the-ring",
    "TLS": "clusters#certificates",
    "encryption": "clusters#certificates",
    "regularization": "batches_validation#underfitting-and-overfitting",
    "regularisation": "batches_validation#underfitting-and-overfitting",
    "hyperparameter": "concepts#parameters-and-hyper-parameters",
    "hyper-parameters": "concepts#parameters-and-hyper-parameters",
    "hyperparameter search": "search#parallel-hyper-parameter-search",
    "loss function": "losses#what-a-loss-must-do",
    "cost function": "losses#what-a-loss-must-do",
    "LSTM": "why#wall-3-many-layers",
    "momentum": "optimizers#momentum",
    "vanishing gradients": "activations#saturation-the-vanishing-derivative",
    "early stopping": "batches_validation#early-stopping",
    "dropout": "challenges#learning-by-heart",
    "softmax": "activations#softmax-scores-into-probabilities",
    "XOR": "neurons#what-one-neuron-cannot-do",
    "checkpoint": "when_workers_die#what-a-checkpoint-must-hold",
    "kill worker": "when_workers_die#",
    "kill a worker": "when_workers_die#",
    "weight decay": "optimizers#adamw-decay-the-weights-not-the-gradient",
    "Adam": "optimizers#adam-both-with-the-start-corrected",
    "ZeRO": "sharded_optimizers#",
    "stragglers": "async_local_compressed#the-price-of-waiting",
    "Amdahl": "where_time_goes#amdahl-the-same-work-more-hands",
    "float32 rounding": "pytorch_network#float32-or-float64",
    "batch size": "batches_validation#",
    "backprop": "backpropagation#backpropagation",
    "DDP": "ddp_on_dask#what-ddp-does",
    "GPU": "ddp_on_dask#on-gpus",
    "CUDA": "ddp_on_dask#on-gpus",
    "SGD": "gradient_descent#batch-mini-batch-stochastic",
    "dead ReLU": "activations#dead-units-the-other-end",
    "initialise": "initialisation#initialisation",
    "initialize": "initialisation#initialisation",
    "parameter server": "async_local_compressed#the-package-s-parameter-server",
    "SLURM": "clusters#slurm-the-queue-of-a-computing-centre",
    "quantization": "challenges#fewer-bits-quantisation",
    "hyperband": "search#when-early-is-too-early",
    "saddle point": "gradient_descent#valleys-saddles-and-what-noise-is-good-for",
}
# A name of the package is explained in the API, an author listed in the bibliography.
ELSEWHERE = {
    "latest_valid": "reference/api/checkpoints#course_lib.checkpoint.latest_valid",
    "course_lib.mlp": "reference/api/network#course_lib.network.mlp",
    "Network.loss_and_grad": "reference/api/network#course_lib.network.Network.loss_and_grad",
    "MLPClassifier": "reference/api/estimators#course_lib.estimators.classifier.MLPClassifier",
}
EXPECTED = {query: f"chapters/{place}" for query, place in FIRST.items()} | ELSEWHERE
# A letter missing, one too many, another, two changed round.
TYPOS = {
    "graident": "gradient",
    "backpropagtion": "backpropagation",
    "momenntum": "momentum",
    "dropuot": "dropout",
    "softmex": "softmax",
}
TEX = re.compile(r"\\\(|\\\[|\\[a-zA-Z]{2,}|[_^]\{|\$\$")

_ANSWERS = """
const engine = new BookSearch(searchIndex);
return arguments[0].map((query) => {
  const { found, asked, read, perhaps } = engine.search(query);
  const shown = found.slice(0, 20).map((place) => {
    const { pieces, code } = SearchMarks.snippet(place, asked);
    const title = SearchMarks.pieces(place.heading, SearchMarks.marks(place.heading, asked));
    const words = SearchMarks.forms(place, asked);
    return { address: `${place.page.address.replace(".html", "")}#${place.anchor}`,
             kind: place.kind, pieces, title, code, words };
  });
  return { count: found.length, shown, read, perhaps };
});
"""
_RESULTS = """
return window.BookSearch && !/Searching/.test(document.getElementById("search-status").textContent)
  && [...document.querySelectorAll("#search-found li a")].map((link) => link.href);
"""
_STATUS = "return document.getElementById('search-status').innerText"
_FOUND = """
return [...(CSS.highlights.get("found") ?? [])].map((range) => String(range));
"""


def _soon(page: Any, code: str, *arguments: Any) -> Any:
    """Wait until JavaScript in the page gives something true, and return it."""
    return WebDriverWait(page.driver, patient(60)).until(lambda _: page.js(code, *arguments))


def _look(page: Any, html: Path, query: str, **how: Any) -> list[str]:
    """Open the search page with a query and return the addresses of the results."""
    page.open((html / "search.html").as_uri() + f"?q={query}", **how)
    WebDriverWait(page.driver, patient(60)).until(lambda _: page.js(_RESULTS) is not False)
    found: list[str] = page.js(_RESULTS)
    return found


@pytest.fixture(scope="module")
def answers(page: Any, html: Path) -> dict[str, Any]:
    """The answers to all queries, from one index."""
    _look(page, html, "")
    queries = [*EXPECTED, *TYPOS, "xyzzyq", "graaidnt", "the", "layer normalization of what"]
    return dict(zip(queries, page.js(_ANSWERS, queries), strict=True))


# What is found


@pytest.mark.parametrize("query", EXPECTED)
def test_what_explains_it_comes_first(answers: dict[str, Any], query: str) -> None:
    """Page and section; where several sections explain it, the page."""
    first = answers[query]["shown"][0]["address"]
    assert first.startswith(EXPECTED[query])
    assert first == EXPECTED[query] or EXPECTED[query].endswith("#")


def test_most_of_these_come_first_only_by_their_order(page: Any, html: Path) -> None:
    """So that the test above can fail: all words alike, wherever they stand, and it does."""
    _look(page, html, "")
    page.js("BookSearch.FIELDS.forEach((field) => (field.weight = 1)); BookSearch.EXPLAINS = 1;")
    page.js("for (const kind in BookSearch.KINDS) BookSearch.KINDS[kind] = 1;")
    plain = page.js(_ANSWERS, list(EXPECTED))
    right = [
        answer["shown"][0]["address"].startswith(place)
        for answer, place in zip(plain, EXPECTED.values(), strict=True)
    ]
    assert sum(right) < 0.6 * len(right)


@pytest.mark.parametrize("typed", TYPOS)
def test_a_word_with_a_wrong_letter_is_read_as_the_right_one(
    answers: dict[str, Any], typed: str
) -> None:
    """And the page says so."""
    assert answers[typed]["read"] == [[typed, TYPOS[typed]]]
    assert answers[typed]["count"] > 10


def test_words_of_the_book_are_not_corrected(answers: dict[str, Any]) -> None:
    """A letter is forgiven only where nothing else is found."""
    assert [query for query in EXPECTED if answers[query]["read"]] == []


def test_small_words_count_only_alone(page: Any, html: Path, answers: dict[str, Any]) -> None:
    """ "what is the chain rule" is "chain rule"."""
    assert answers["the"]["count"] > 1000
    _look(page, html, "")
    long, short = page.js(_ANSWERS, ["what is the chain rule", "chain rule"])
    assert long["shown"] == short["shown"]


def test_places_with_all_words_come_before_those_with_some(answers: dict[str, Any]) -> None:
    """Few have "normalization" in British too; one without "layer" is not before one with both."""
    shown = answers["layer normalization of what"]["shown"]
    marked = [{word for word, mark in s["pieces"] + s["title"] if mark} for s in shown[:3]]
    assert all(any(w.lower().startswith("layer") for w in words) for words in marked)


# What is shown


def test_no_result_shows_tex(answers: dict[str, Any]) -> None:
    """Formulas are written as plain text, or left out; code is code."""
    seen = [
        text
        for answer in answers.values()
        for shown in answer["shown"]
        if not shown["code"]
        for text in ["".join(piece for piece, _ in shown["pieces"])]
    ]
    assert len(seen) > 500
    assert [text for text in seen if TEX.search(text)] == []
    assert TEX.search(r"the gradient \(p - y\)") and TEX.search(r"W_{0}")


def test_whole_words_are_marked(answers: dict[str, Any]) -> None:
    """Not the "rate" in "separates"; and nearly every result shows why it is one."""
    unmarked = 0
    for answer in answers.values():
        for shown in answer["shown"]:
            for pieces in (shown["pieces"], shown["title"]):
                text = [piece for piece, _ in pieces]
                for i, (piece, mark) in enumerate(pieces):
                    if mark:
                        before, after = "".join(text[:i])[-1:], "".join(text[i + 1 :])[:1]
                        assert not before.isalnum() and not after.isalnum(), (before, piece, after)
            unmarked += not any(mark for _, mark in shown["pieces"] + shown["title"])
    assert unmarked == 0


def test_every_result_leads_to_a_place_that_is_there(html: Path, answers: dict[str, Any]) -> None:
    """The section, the term, the entry or the name of the API, by its anchor."""
    addresses = {shown["address"] for answer in answers.values() for shown in answer["shown"]}
    for address in addresses:
        name, _, anchor = address.partition("#")
        assert anchor in _anchors(html / f"{name}.html"), address
    assert len(addresses) > 200


def test_chapters_come_before_solutions_and_those_before_the_bibliography(
    answers: dict[str, Any],
) -> None:
    """In nine of ten queries that both answer; a single place may be better than its kind."""

    def ahead(first: str, second: str) -> float:
        pairs = [
            kinds.index(first) < kinds.index(second)
            for kinds in ([one["kind"] for one in answers[query]["shown"]] for query in FIRST)
            if first in kinds and second in kinds
        ]
        return sum(pairs) / len(pairs)

    assert ahead("chapter", "solution") > 0.9
    assert ahead("chapter", "api") > 0.9
    assert ahead("solution", "bibliography") > 0.9


# The words that are compared


def test_words_that_are_the_same_to_a_reader_have_one_stem(page: Any, html: Path) -> None:
    """And no others: a stemmer for prose takes "normalization" for "normal"."""
    _look(page, html, "")
    same = [
        "regularization regularisation regularize regularised regularizing",
        "check checks checking checked",
        "batch batches",
        "loss losses",
        "query queries",
        "overfit overfitting",
        "cache caches caching cached",
        "label labels labelled labelling labeled",
        "colour colours color",
        "initialise initialisation initializing initialization",
        "activate activation activations activating",
        "bias biases",
        "compress compression compressed",
        "pipeline pipelines pipelining",
    ]
    apart = [
        "normal normalization",
        "regular regularization",
        "general generate",
        "universe university",
        "ring rate",
        "need speed seed",
        "bias bia",
        "string strings ring",
    ]
    count = "return new Set(arguments[0].split(' ').map(SearchWords.stem)).size"
    assert [words for words in same if page.js(count, words) != 1] == []
    assert [words for words in apart if page.js(count, words) < 2] == []


def test_near_is_one_letter_by_the_definition(page: Any, html: Path) -> None:
    """Oracle: all words that one change makes, written out."""
    _look(page, html, "")
    word, letters = "ring", "abginr"
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    made = {a + b[1:] for a, b in cuts if b}
    made |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    made |= {a + c + b[1:] for a, b in cuts if b for c in letters}
    made |= {a + c + b for a, b in cuts for c in letters}
    far = {a + d for a in made for d in letters} | {a[::-1] for a in made}
    judge = "return arguments[1].filter((other) => SearchWords.near(arguments[0], other, 1))"
    assert set(page.js(judge, word, sorted(made | far))) == made | {word} & (made | far)


def test_every_line_of_the_synonyms_finds_something(page: Any, html: Path) -> None:
    """A word that the book never uses may be asked for, but one of its group has to be there."""
    _look(page, html, "")
    lost = page.js(
        "const engine = new BookSearch(searchIndex), { same, see } = searchIndex;"
        "return [...same, ...Object.entries(see).map(([one, others]) => [one, ...others])]"
        ".filter((group) => group.map((words) => engine.search(words))"
        ".some(({ found, read }) => !found.length || read.length));"
    )
    assert lost == []


# The page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("query", ["loss%20function", "Network.loss_and_grad", "xyzzyq"])
def test_the_results_are_whole_offline(page: Any, html: Path, query: str, scheme: str) -> None:
    """As every page: no request, no complaint, nothing sticks out, axe finds nothing."""
    _look(page, html, query)  # so that the index is ready at once
    found = faults(page, (html / "search.html").as_uri() + f"?q={query}", scheme)
    assert not found, "\n".join(["", *found])


def test_from_a_chapter_to_the_place_by_keyboard_alone(page: Any, html: Path) -> None:
    """The box, the results, their number said aloud, the section with the words marked, Escape."""
    page.open((html / "chapters" / "losses.html").as_uri())
    keys = ActionChains(page.driver, duration=0)
    keys.key_down(Keys.CONTROL).send_keys("k").key_up(Keys.CONTROL).perform()
    _soon(page, "return document.activeElement.matches('#pst-search-dialog input')")
    ActionChains(page.driver).send_keys("early stopping", Keys.ENTER).perform()
    _soon(page, "return location.pathname.endsWith('search.html')")
    first = _soon(page, _RESULTS)[0]
    assert re.search(r"^\d+ places on \d+ pages\.$", page.js(_STATUS))
    assert page.js("return document.getElementById('search-status').getAttribute('role')") == (
        "status"
    )
    for _ in range(3):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        if page.js("return document.activeElement.href") == first:
            break
    ActionChains(page.driver).send_keys(Keys.ENTER).perform()
    _soon(page, "return location.pathname.endsWith('batches_validation.html')")
    found = _soon(page, _FOUND)
    assert all(re.match("early|stop", word, re.IGNORECASE) for word in found)
    assert page.js("return location.search") == "", "the address is not the one to hand on"
    assert page.js("return location.hash") == "#early-stopping"
    _soon(
        page,
        "const top = document.getElementById('early-stopping').getBoundingClientRect().top;"
        "return top > -5 && top < innerHeight / 3;",
    )
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    assert page.js(_FOUND) == []


def test_the_results_follow_what_is_typed(page: Any, html: Path) -> None:
    """And the address does, so that it can be kept and gone back to."""
    _look(page, html, "momentum")
    box = page.driver.find_element("css selector", ".bd-search-container input")
    assert box.get_attribute("value") == "momentum"
    box.clear()
    box.send_keys("softm")
    _soon(page, "return /activations.html/.test(document.querySelector('#search-found a')?.href)")
    assert page.js("return location.search") == "?q=softm"
    box.clear()
    box.send_keys(" ")
    _soon(page, "return !document.querySelector('#search-found a')")
    assert page.js(_STATUS) == "" and page.js("return location.search") == ""


def test_more_results_come_when_asked_for(page: Any, html: Path) -> None:
    """The first of them takes the focus, so that a keyboard goes on from there."""
    some = _look(page, html, "gradient")
    button = page.driver.find_element("id", "search-more")
    page.js("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    more = _soon(page, _RESULTS)
    assert len(more) > len(some) and more[: len(some)] == some
    assert page.js("return document.activeElement.href") == more[len(some)]


def test_where_nothing_is_found_the_page_helps(page: Any, html: Path) -> None:
    """It says so, offers the nearest word, and names the glossary and the index."""
    assert _look(page, html, "graaidnt") == []
    assert page.js(_STATUS) == "Nothing found for “graaidnt”. Did you mean gradient?"
    seen = page.driver.find_element("id", "search-help")
    assert seen.is_displayed() and len(seen.find_elements("tag name", "a")) == 2
    page.driver.find_element("css selector", "#search-status a").click()
    assert _soon(page, _RESULTS)
    assert not page.driver.find_element("id", "search-help").is_displayed()


def test_what_is_typed_is_never_markup(page: Any, html: Path) -> None:
    """It is shown as it was typed."""
    _look(page, html, "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%20xyzzyq")
    assert "<img src=x" in page.js(_STATUS)
    assert page.js("return document.querySelectorAll('.bd-search-container img').length") == 0


def test_a_page_marks_only_whole_words_of_its_section(page: Any, html: Path) -> None:
    """Two words, also across a line; nothing outside of the section."""
    address = (html / "chapters" / "losses.html").as_uri()
    page.open(f"{address}?find=rate|loss#what-a-loss-must-do")
    found = page.js(_FOUND)
    assert found and {word.lower() for word in found} <= {"rate", "loss"}
    outside = page.js(
        "const section = document.getElementById('what-a-loss-must-do');"
        "const found = [...CSS.highlights.get('found')];"
        "return found.filter((range) => !section.contains(range.startContainer));"
    )
    assert outside == []
    page.open(address)
    assert page.js(_FOUND) == []
