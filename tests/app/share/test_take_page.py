"""Figures and tables leave the page as files, made in the browser."""

import csv
import io
import math
import struct
from xml.etree import ElementTree

import pytest
import torch
from browser import QUESTION, expect, visit

from atmoe import Override, State, Steering
from atmoe.many.fields import cell_of, text_of


def taken(tab, name: str) -> bytes:
    """What a click on one of the list's buttons saves."""
    with tab.page.expect_download() as saved:
        tab.page.locator("#take").get_by_label(name, exact=True).click()
    assert saved.value.suggested_filename.startswith("atmoe-")
    return saved.value.path().read_bytes()


def test_every_figure_and_table_can_be_taken(browser, served):
    with visit(browser, served) as tab:
        tab.ask()
        tab.open("Keep")
        # 1. a vector and a picture of each figure
        for name in ("Group shares by layer", "Expert shares by layer"):
            drawn = ElementTree.fromstring(taken(tab, f"{name} as SVG"))
            texts = " ".join(drawn.itertext())
            assert drawn.tag.endswith("svg") and f"{name} (dark: 0%, light: 100%" in texts
            width, height = (float(drawn.get(side)) for side in ("width", "height"))
            picture = taken(tab, f"{name} as PNG")
            assert picture[:8] == b"\x89PNG\r\n\x1a\n"
            assert struct.unpack(">II", picture[16:24]) == (2 * round(width), 2 * round(height))
        for expert in (e for _, experts in tab.layout.groups for e in experts):
            assert expert in texts
        # 2. the table's numbers are the plan's
        text = taken(tab, "Table: shares by layer, percent as CSV").decode("utf-8-sig")
        head, *rows = csv.reader(io.StringIO(text))
        plan = tab.model.route(QUESTION)
        assert len(rows) == tab.layout.layers and len({len(row) for row in (head, *rows)}) == 1
        for layer, row in enumerate(rows):
            assert row[0] == str(layer)
            shares = [*plan.group_shares[layer].tolist(), *plan.expert_shares[layer].tolist()]
            for group, share in zip(tab.layout.group_names, plan.group_shares[layer].tolist()):
                if share < 1e-5:  # of nothing its experts have no share
                    own = tab.layout.members(group)
                    first = len(tab.layout.groups)
                    nothing = [math.nan] * (own.stop - own.start)
                    shares[first + own.start : first + own.stop] = nothing
            assert row[-2:] == [QUESTION, "the router's own weights"]
            width = len(shares)  # those in force, then the router's, here the same
            assert row[1 : 1 + width] == row[1 + width : -2]
            shown = [math.nan if cell == "–" else float(cell) for cell in row[1 : 1 + width]]
            wanted = pytest.approx([100 * share for share in shares], abs=0.06, nan_ok=True)
            assert shown == wanted
        # 3. what is measured later is listed when its place is opened again
        tab.open("Why")
        expect(tab.page.locator("#why-progress")).to_have_text("Measured.")
        numbers = "The numbers: weight, contribution and effect"
        tab.page.get_by_role("button", name=numbers).click()
        expect(tab.page.locator("#why-grid table")).to_be_visible()
        tab.open("Keep")
        text = taken(tab, "Why: three measures as CSV").decode("utf-8-sig")
        head, *rows = csv.reader(io.StringIO(text))
        assert len(rows) >= len(tab.layout.groups)


def test_the_table_of_a_steered_plan_holds_its_numbers_alone(browser, served):
    with visit(browser, served) as tab:
        tab.ask()
        group = tab.layout.group_names[0]
        tab.press(group, "End")
        tab.steered()
        tab.open("Keep")
        plan = Steering((Override(group, State.FIXED, 1.0),)).apply(tab.model.route(QUESTION))
        for table in ("Table: shares by layer", "Weights: shares by third of the layers"):
            text = taken(tab, f"{table}, percent as CSV").decode("utf-8-sig")
            whole = list(csv.reader(io.StringIO(text)))
            assert all(
                row[-2:] == [QUESTION, f"{group} fixed at 100% in all layers"] for row in whole[1:]
            )
            width = (len(whole[0]) - 3) // 2
            assert whole[0][1 + width] == f"{whole[0][1]}, router"
            if table.startswith("Table"):
                router = [row[1 + width : 1 + width + len(tab.layout.groups)] for row in whole[1:]]
                wanted = 100 * tab.model.route(QUESTION).group_shares
                given = [[float(cell) for cell in row] for row in router]
                assert given == pytest.approx(wanted.numpy(), abs=0.06)
            rows = [row[1 : 1 + width] for row in whole]
            # of a group without a share, its experts have none either
            numbers = [
                [math.nan if cell == "–" else float(cell) for cell in row]
                for row in rows[1:]
                if any(row)
            ]
            if table.startswith("Table"):
                own = tab.layout.members(group).stop
                experts = plan.expert_shares.clone()
                experts[:, own:] = math.nan
                shares = torch.cat([plan.group_shares, experts], 1)
                assert numbers == pytest.approx((100 * shares).numpy(), abs=0.06, nan_ok=True)
            assert len(numbers) >= tab.layout.layers


def test_a_cell_is_a_number_or_a_text_and_never_a_formula(browser, served):
    with visit(browser, served) as tab:
        tab.page.evaluate(
            """() => {
            const table = document.createElement('table');
            table.dataset.name = 'made up';
            table.innerHTML = '<tr><th colspan="2">a</th><th rowspan="2">b</th></tr>' +
              '<tr><td>−0.5</td><td>+1.25</td></tr>' +
              '<tr><td data-csv="skip">x</td><td>=1+1</td><td>- item, "quoted"</td>' +
              '<td>@x</td></tr>' +
              '<tr><td>-2+3+cmd|x</td><td>−2+WEBSERVICE(1)</td><td>−3.5 %</td></tr>';
            document.querySelector('#why').append(table);
            }"""
        )
        tab.open("Keep")
        rows = list(csv.reader(io.StringIO(taken(tab, "Why: made up as CSV").decode("utf-8-sig"))))
        assert rows == [
            ["a", "", "b"],
            ["-0.5", "+1.25", ""],
            ["'=1+1", '\'- item, "quoted"', "'@x"],
            ["'-2+3+cmd|x", "'−2+WEBSERVICE(1)", "-3.5 %"],
        ]


def test_a_text_is_written_as_the_commands_write_it(browser, served):
    texts = ["'=1", "''@x", "'tis", "a=b", "+x", "−x", "@", "'", "'−2+x", "\t=1", "-", "=a\nb"]
    with visit(browser, served) as tab:
        tab.page.evaluate(
            """(texts) => {
            const table = document.createElement('table');
            table.dataset.name = 'made up';
            for (const text of texts) table.insertRow().insertCell().textContent = text;
            document.querySelector('#why').append(table);
            }""",
            texts,
        )
        tab.open("Keep")
        rows = list(csv.reader(io.StringIO(taken(tab, "Why: made up as CSV").decode("utf-8-sig"))))
        bare = [" ".join(text.split()) for text in texts]
        assert rows == [[cell_of(text)] for text in bare]
        assert [text_of(row[0]) for row in rows] == bare
