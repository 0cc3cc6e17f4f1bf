"""The two pages as text: valid, complete, escaped, alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from fmnist_cli.analysis.answers import Answer
from fmnist_cli.analysis.why.causes import Cause, Explanation
from fmnist_cli.engine.parameters import count
from fmnist_cli.plots import to_svg
from fmnist_cli.plots.svg import CONTRAST, DARK_GROUND, DARK_INK, on_dark
from fmnist_cli.registry import CheckRecord, Registry
from fmnist_cli.report.blocks import (
    Finding,
    Listing,
    Picture,
    Prose,
    Report,
    Section,
)
from fmnist_cli.report.html import to_html
from fmnist_cli.report.markdown import to_markdown
from fmnist_cli.report.mathml import mathml
from fmnist_cli.report.tables import causes_table, entries_table, parameters_table, typeset
from fmnist_cli.runner.command_line import figure_commands
from fmnist_cli.tables import Column, Table

from .conftest import Made

VOID = {"meta", "link", "img", "source", "br", "hr", "input"}
NASTY = '<b>&amp; "quoted" | `code` * _x_ [y](z) </script>'


class Parsed(HTMLParser):
    """Every start tag with its attributes; fails on a tag that is not closed in its place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def small_report(text: str, label: str = "") -> Report:
    figure = Figure()
    figure.subplots().plot([1, 2])
    section = Section(
        "one",
        text,
        (
            Prose(text),
            Table(
                text, (Column(text, numeric=False), Column(text)), ((text, text),), (), ("run-1",)
            ),
            Listing(text, f"{text}\n    second <- line\n"),
            Picture("line", text, text, to_svg(figure)),
            Answer(text, "not settled", f"Not settled. {text}"),
        ),
        f"fmnist {text}",
        (1,),
    )
    return Report(text, text, label, (Finding("one", text, "yes", text),), (section,))


def test_the_page_is_balanced_and_semantic(made: Made) -> None:
    page = Parsed(made.html)
    names = [name for name, _ in page.tags]
    assert names.count("h1") == names.count("main") == names.count("title") == 1
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    headings = [name for name in names if name in ("h1", "h2", "h3")]
    assert headings[:2] == ["h1", "h2"]
    assert (names.count("img"), names.count("pre")) == (7, 5)
    assert names.count("figure") == names.count("figcaption") == 12
    assert names.count("table") == names.count("caption")
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    for image in page.all("img"):
        assert len(image["alt"] or "") > 40
        assert (image["src"] or "").startswith("data:image/svg+xml;base64,")
    assert page.all("html") == [{"lang": "en"}]


def test_the_page_needs_nothing_else(made: Made) -> None:
    page = Parsed(made.html)
    assert page.all("script") == []
    for _, attributes in page.tags:
        for name in ("src", "href"):
            if name in attributes:
                assert re.match("#|data:", attributes[name] or "")
    assert "http" not in made.html
    assert not re.search(r"@import|@font-face|url\(", made.html)


def test_the_runs_of_the_page_are_those_of_the_registry(made: Made) -> None:
    page = Parsed(made.html)
    with Registry.open(made.db, readonly=True) as registry:
        known = {f"run-{run.id}" for run in registry.list_runs()}
    linked = {(a["href"] or "")[1:] for a in page.all("a") if "#run-" in (a["href"] or "")}
    assert linked == known == {a["id"] for a in page.all("tr") if "id" in a}


def test_the_figures_of_the_markdown_are_there(made: Made) -> None:
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", made.markdown)
    assert len(named) == 7
    for name in named:
        assert (made.folder / name).read_text().startswith("<svg")


def test_both_pages_say_that_they_are_quick_at_every_heading(made: Made) -> None:
    assert "<title>Fashion-MNIST, step by step (quick version)</title>" in made.html
    headings = re.findall(r"<h[12][^>]*>.*?</h[12]>", made.html)
    assert all("quick version" in h for h in headings if 'id="contents"' not in h)
    headings = re.findall(r"^##? .*$", made.markdown, re.MULTILINE)
    assert len(headings) > 10
    assert all(heading.endswith("(quick version)") for heading in headings)


def test_numbers_of_the_page_are_those_of_the_registry(made: Made) -> None:
    with Registry.open(made.db, readonly=True) as registry:
        (trained,) = registry.list_runs(command="train")
        sweep = registry.list_runs(command="sweep-batch")
    text = "".join(Parsed(made.html).texts)
    for run in (trained, *sweep):
        assert f"{100 * run.test_accuracy:.2f} %" in text  # type: ignore[operator]
        assert f"{run.updates_to_best:,}" in text


def test_every_text_is_escaped() -> None:
    page = Parsed(to_html(small_report(NASTY, NASTY)))
    assert page.all("b") == page.all("script") == []
    # title, h1, lead, contents, summary, finding (2), section, prose, table (5), figure, answer (2)
    assert "".join(page.texts).count(NASTY) > 15
    assert page.all("img")[0]["alt"] == NASTY


def test_a_listing_stays_as_it_is() -> None:
    report = small_report("a_b * c")
    assert "<pre><code>a_b * c\n    second &lt;- line</code></pre>" in to_html(report)
    assert "```\na_b * c\n    second <- line\n```" in to_markdown(report)


def test_the_notation_is_typeset() -> None:
    for plain, symbols in (
        ("dl/dw1 = -y sigma(-y y^) v1 H(a1) x1", "∂l/∂w₁ = -y σ(-y ŷ) v₁ H(a₁) x₁"),
        ("dy^/do2 do2/da2 da2/dw2", "∂ŷ/∂o₂ ∂o₂/∂a₂ ∂a₂/∂w₂"),
        ("w1 <- w1 - eta dw1", "w₁ ← w₁ - η dw₁"),
        ("2 * 0.5 + (-1) * 0.25 = 1", "2 · 0.5 + (-1) · 0.25 = 1"),  # numbers keep their digits
        ("max(0, a1)", "max(0, a₁)"),
    ):
        assert typeset(plain) == symbols


def test_markdown_escapes_what_would_be_markup() -> None:
    page = to_markdown(small_report(NASTY))
    lines = re.sub(r"```.*?```", "", page, flags=re.DOTALL).splitlines()  # a listing is no markup
    unescaped = [re.sub(r"\\.", "", line) for line in lines]
    (row,) = [line for line in unescaped if line.startswith("|") and "quoted" in line][1:]
    assert row.count("|") == 3
    assert not any("<b>" in line for line in lines if not line.startswith("Again"))


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [
        ("yes", "Yes."),
        ("no clear difference", "No clear difference."),
        ("not settled", "Not settled."),
        ("84 %", "84 %"),
    ],
)
def test_verdicts_are_sentences_of_one_colour(verdict: str, shown: str) -> None:
    report = replace(small_report("text"), findings=(Finding("one", "q", verdict, "line"),))
    page = to_html(report)
    assert f'<dd><strong class="verdict">{shown}</strong> line</dd>' in page
    assert ".verdict" not in page.partition("</style>")[0]


def test_an_answer_is_not_opened_twice() -> None:
    assert '<strong class="verdict">Not settled.</strong> text' in to_html(small_report("text"))


def test_the_commands_of_the_figures_stand_once_at_the_end_of_a_part() -> None:
    usual = Explanation("Why a?", "a", (), "", "plot batch")
    other = replace(usual, axis="cumulative-lr")
    commands = figure_commands([usual, other, usual])
    assert commands == ("fmnist plot batch", "fmnist plot batch --x cumulative-lr")
    report = small_report("text")
    section = replace(report.sections[0], blocks=(usual, other, usual), figures=commands)
    report = replace(report, sections=(section,))
    assert to_html(report).count("fmnist plot batch</code>") == 1
    lines = to_markdown(report).splitlines()
    assert "Figures: `fmnist plot batch`, `fmnist plot batch --x cumulative-lr`" in lines


def test_a_gradient_of_0_gives_way_to_another_of_its_parameter() -> None:
    def entry(parameter: str, index: int, value: float) -> CheckRecord:
        figures = {"parameter": parameter, "backpropagation": value, "numeric": value,
                   "relative_error": 0.0, "method": "difference", "kink": False}  # fmt: skip
        return CheckRecord(kind="gradient", name=f"{parameter}[{index}]", figures=figures,
                           held=True, nonfinite={})  # fmt: skip

    table = entries_table([entry("W1", 0, 0.0), entry("W1", 7, 0.5), entry("b1", 0, 0.0)])
    assert [row[0] for row in table.cells] == ["W1[7]", "b1[0]"]  # b1 has no other
    assert [note for note in table.notes if "Not shown: W1[0], 0 on both sides" in note]
    assert not any("Not shown" in note for note in entries_table([entry("b1", 0, 0.0)]).notes)


def cause(share: float, outcome: str = "supported") -> Cause:
    return Cause("A cause", "", outcome, share, None, None, "a test", "a refutation")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shares", "overlap", "above"),
    [((0.6,), False, False), ((0.6, 0.7), True, False), ((1.2, 0.1), True, True)],
)
def test_shares_that_do_not_add_up_are_explained(
    shares: tuple[float, ...], overlap: bool, above: bool
) -> None:
    causes = (*map(cause, shares), cause(3.0, "tested, not supported"))
    notes = " ".join(causes_table(Explanation("Why?", "So.", causes, "", "plot")).notes)
    assert ("need not add up to 100 %" in notes) == overlap
    assert ("Above 100 %" in notes) == above


def test_the_size_of_each_output_stands_beside_its_layer() -> None:
    table = parameters_table([count("cnn2")])
    sizes = {row[1]: row[4:6] for row in table.cells}
    assert sizes["convolution, 64 kernels 7x7"] == ("28 - 7 + 1 = 22", "7 x 7 x 1 x 64 + 64")
    assert sizes["max-pool 2x2"][0] == "22 / 2 = 11"
    assert sizes["flatten"][0] == "11 x 11 x 64 = 7,744"
    assert sizes["linear to 10"] == ("", "7,744 x 10 + 10")


def test_name_and_course_have_a_place() -> None:
    page = to_html(replace(small_report("text"), author="Anna <B>"))
    assert '<dt>Name</dt><dd contenteditable="true">Anna &lt;B&gt;</dd>' in page
    assert '<dt>Course</dt><dd contenteditable="true"></dd>' in page


@pytest.mark.parametrize(
    ("formula", "inner"),
    [
        ("w1", "<msub><mi>w</mi><mn>1</mn></msub>"),
        ("784 x 128 + 128", "<mn>784</mn><mo>×</mo><mn>128</mn><mo>+</mo><mn>128</mn>"),
        ("max(0, a)", "<mi>max</mi><mo>(</mo><mn>0</mn><mo>,</mo><mi>a</mi><mo>)</mo>"),
        ("-0.25 · 1e-05", "<mo>−</mo><mn>0.25</mn><mo>·</mo><mn>1e-05</mn>"),
        (
            "dl/dy^",
            "<mfrac><mrow><mi>d</mi><mi>l</mi></mrow><mrow><mi>d</mi>"
            "<mover accent='true'><mi>y</mi><mo>^</mo></mover></mrow></mfrac>",
        ),
    ],
)
def test_formulas_are_mathml(formula: str, inner: str) -> None:
    assert mathml(formula) == f"<math><mrow>{inner}</mrow></math>"


def test_what_is_no_formula_is_refused() -> None:
    with pytest.raises(ValueError, match="no MathML"):
        mathml("50 % off")


def test_every_formula_of_the_page_is_set(made: Made) -> None:
    page = Parsed(made.html)
    # six of the mini CNN, and every layer of the two that has parameters
    assert len(page.all("math")) == 6 + 2 + 2
    assert "784 x 128" not in made.html


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_colours_on_dark_ground() -> None:
    assert on_dark("#ffffff") == DARK_GROUND
    assert on_dark("#000000") == DARK_INK
    for colour in ("#440154", "#0072b2", "#d55e00", "#009e73", "#f0e442", "#555555"):
        counterpart = luminance(on_dark(colour))
        assert (counterpart + 0.05) / (luminance(DARK_GROUND) + 0.05) >= CONTRAST
    assert on_dark("#f0e442") == "#f0e442"  # light enough as it is


def test_a_drawing_is_the_same_each_time_and_carries_no_address() -> None:
    def drawn() -> str:
        figure = Figure()
        figure.subplots().plot([3, 1, 2], color="#0072b2")
        return to_svg(figure)

    svg = drawn()
    assert svg == drawn()
    assert svg.startswith("<svg")
    assert set(re.findall(r"https?://[^\"]+", svg)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
    }  # fmt: skip
    assert f'[style*="stroke: #0072b2"]{{stroke:{on_dark("#0072b2")}!important}}' in svg
