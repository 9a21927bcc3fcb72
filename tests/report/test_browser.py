"""The page in a real browser: Debian's chromium, where there is one."""

import os
import re
import shutil

import pytest
from playwright.sync_api import sync_playwright
from simulated_run import simulated_run, with_canaries

from dpbench.report.page import HEADLINE, Drawing, page
from dpbench.report.results import tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"),
]
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
STILL = Drawing(HEADLINE, "title", "caption", SVG, "svg+xml")
POINTS = "#chart g.mark-symbol path"
UNREADABLE = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const backdrop = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
    if (element.closest("[aria-hidden=true]")) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.closest("svg") ? style.fill : style.color);
    const [light, dark] = [luminance(ink), luminance(backdrop(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const text = walker.currentNode.textContent.trim();
    if (ratio < 4.5) found.push(`${element.tagName} ${text} ${ratio}`);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Root has no sandbox of its own in a container.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run():
    return with_canaries(simulated_run())


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page(run, tables(run), [STILL]), encoding="utf-8")
    return file


@pytest.fixture
def opened(browser, path):
    """Opens the page; at the end it must have been silent and alone."""
    contexts, heard, asked = [], [], []

    def open_page(file=path, *, width=1200, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: heard.append(message.text))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("dialog", lambda dialog: heard.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector(POINTS)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def numbers(tab):
    """The table under the chart: cell name to its texts."""
    rows = tab.locator("#numbers tbody tr").all()
    return {row.locator("th").text_content(): row.locator("td").all_text_contents() for row in rows}


def unfold(tab):
    tab.click("#list > summary")


def test_points_are_the_cells_and_filters_work(opened, run):
    tab = opened()
    done = run.cells[run.cells["status"] == "done"]
    assert tab.locator(f"{POINTS}[aria-roledescription='point']").count() >= len(done)
    assert set(numbers(tab)) == set(done["cell"])
    assert "selena (failed: model 3 diverged" in tab.text_content("#shown")
    tab.uncheck("input[name=family][value=dp_sgd]")
    rest = done[done["defense"] != "dp_sgd"]
    tab.wait_for_function(f"document.querySelectorAll('#numbers tbody tr').length == {len(rest)}")
    assert set(numbers(tab)) == set(rest["cell"])
    tab.click("#none")
    assert numbers(tab) == {}
    tab.wait_for_selector("text=No cell has a number here.")
    tab.click("#all")
    assert len(numbers(tab)) == len(done)


def test_numbers_are_those_of_the_chosen_attacker(opened, run):
    tab = opened()
    best = tables(run).points.set_index("cell")
    assert numbers(tab)["hamp"][1].startswith(f"{best.loc['hamp', 'advantage']:.3f} [")
    static = run.attacks[(run.attacks["attack"] == "best") & (run.attacks["knowledge"] == "static")]
    tab.select_option("select[name=knowledge]", "static")
    wanted = static.set_index("cell").loc["hamp", "advantage"]
    assert numbers(tab)["hamp"][1].startswith(f"{wanted:.3f} [")
    tab.select_option("select[name=knowledge]", "adaptive")
    tab.select_option("select[name=track]", "canary")
    tab.select_option("select[name=measure]", "tpr_at_fpr_0.01")
    wanted = 100 * best.loc["hamp", "canary_tpr_at_fpr_0.01"]
    assert numbers(tab)["hamp"][1].startswith(f"{wanted:.1f} %")
    assert "TPR at 1 % FPR" in tab.text_content("#chart svg")


def test_an_attacker_who_sees_labels_alone_is_marked_as_chosen_on_the_same_models(opened, run):
    tab = opened()
    assert "a little too large" not in tab.text_content("#shown")
    tab.uncheck("input[name=access][value=score]")
    assert "a little too large" in tab.text_content("#shown")
    own = run.attacks[
        (run.attacks["cell"] == "hamp")
        & (run.attacks["access"] == "label")
        & (run.attacks["knowledge"] == "adaptive")
        & (run.attacks["attack"] != "best")
    ]
    assert numbers(tab)["hamp"][1].startswith(f"{own['advantage'].max():.3f} [")


def test_pointing_and_clicking(opened, run):
    tab = opened()
    name = "dp_sgd(epsilon=4)"
    point = tab.locator(f"{POINTS}[aria-label^='{name}:']").last
    point.hover()
    tab.wait_for_selector("#vg-tooltip-element.visible")
    said = tab.text_content("#vg-tooltip-element")
    assert name in said
    assert "0.354" in said  # its limit
    point.click()
    tab.wait_for_selector("#curve svg")
    card = tab.text_content("#card")
    for words in (name, "ε = 4", "the mechanism's limit", "key"):
        assert words in card
    tab.click("#card summary")
    rows = tab.locator("#card tbody tr").all()
    assert len(rows) == len(
        run.attacks[(run.attacks["cell"] == name) & (run.attacks["attack"] != "best")]
    )
    tab.click("#card .close")
    assert tab.text_content("#card") == ""


def test_the_keyboard_reaches_every_card(opened):
    tab = opened()
    tab.focus("#list > summary")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")  # the table's own scrolling region
    while tab.evaluate("document.activeElement.className") != "link":
        tab.keyboard.press("Tab")  # its head, which sorts
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#curve svg")
    assert tab.text_content("#card h3") == "none"
    assert tab.evaluate("document.activeElement.id") == "card"
    unnamed = tab.evaluate(
        """() => [...document.querySelectorAll('select, input, button')]
        .filter((one) => !(one.labels && one.labels.length) && !one.textContent.trim()).length"""
    )
    assert unnamed == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(opened, scheme):
    tab = opened(scheme=scheme)
    unfold(tab)
    tab.locator("#numbers tbody button").nth(2).click()
    tab.wait_for_selector("#curve svg")
    tab.click("#card summary")
    tab.locator("#leaderboard thead button").first.click()
    assert tab.evaluate(UNREADABLE) == []


def test_small_screens_scroll_tables_not_the_page(opened):
    tab = opened(width=380)
    unfold(tab)
    tab.locator("#numbers tbody button").first.click()
    tab.wait_for_selector("#curve svg")
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for table in ("#leaderboard", "#attack-grid", "#defenses table"):
        name = tab.locator(f"{table} tbody th").first
        before = name.bounding_box()
        tab.locator(f"{table}").evaluate("one => { one.parentElement.scrollLeft = 250 }")
        assert tab.locator(table).evaluate("one => one.parentElement.scrollLeft") > 50
        after = name.bounding_box()
        assert after["x"] == pytest.approx(before["x"], abs=1), "the name of the row stays"
        assert after["width"] < 190


def column(tab, table, number):
    rows = tab.locator(f"{table} tbody tr").all()
    return [row.locator("th, td").nth(number).text_content() for row in rows]


def test_the_leaderboard_ranks_who_costs_no_more_than_allowed(opened, run):
    tab = opened()
    points = tables(run).points
    points = points[points["defense"] != "none"]
    lost = 100 * (0.823 - points["test_accuracy"])
    near = points[lost <= 1 + 1e-9].sort_values("advantage")
    assert column(tab, "#leaderboard", 0) == list(near["cell"])
    (first,) = points[points["cell"] == near["cell"].iloc[0]].itertuples()
    assert column(tab, "#leaderboard", 1)[0] == "1"
    leak = column(tab, "#leaderboard", 2)[0]
    assert leak.startswith(f"{first.advantage:.3f} [{first.advantage_low:.3f}, ")
    assert first.advantage_attack in leak
    # `temperature` and `top_k` leak alike: a place that intervals do not settle is a range.
    places = dict(zip(column(tab, "#leaderboard", 0), column(tab, "#leaderboard", 1), strict=True))
    assert "–" in places["temperature(t=20)"]
    tab.evaluate(
        """() => { const one = document.querySelector('#budget input');
        one.value = one.max; one.dispatchEvent(new Event('input', { bubbles: true })); }"""
    )
    assert len(column(tab, "#leaderboard", 0)) == len(points.dropna(subset=["advantage"]))
    guarantees = dict(
        zip(column(tab, "#leaderboard", 0), column(tab, "#leaderboard", 4), strict=True)
    )
    assert guarantees["dp_sgd(epsilon=4)"] == "ε = 4: at most 0.354"
    assert guarantees["hamp"] == "none"
    tab.select_option("#budget select[name=track]", "canary")
    tab.select_option("#budget select[name=measure]", "tpr_at_fpr_0.01")
    row = points.set_index("cell").loc["hamp"]
    leaks = dict(zip(column(tab, "#leaderboard", 0), column(tab, "#leaderboard", 2), strict=True))
    assert leaks["hamp"].startswith(f"{100 * row['canary_tpr_at_fpr_0.01']:.1f} %")


def test_the_leaderboard_obeys_the_keyboard(opened):
    tab = opened()
    before = column(tab, "#leaderboard", 0)
    tab.focus("#budget input")
    for _ in range(8):
        tab.keyboard.press("ArrowRight")
    assert tab.text_content("#allowed") == "5.0"
    assert len(column(tab, "#leaderboard", 0)) > len(before)
    tab.focus("#leaderboard thead th:nth-child(6) button")
    tab.keyboard.press("Enter")
    assert tab.get_attribute("#leaderboard thead th:nth-child(6)", "aria-sort") == "ascending"
    lost = [float(text) for text in column(tab, "#leaderboard", 5)]
    assert lost == sorted(lost)
    tab.keyboard.press("Enter")
    assert [float(text) for text in column(tab, "#leaderboard", 5)] == sorted(lost, reverse=True)


def test_every_table_can_be_sorted_and_what_has_no_number_stands_last(opened, run):
    tab = opened()
    table = "#defenses table"
    head = tab.locator(f"{table} thead button", has_text="advantage").first
    for order in (1, -1):
        head.click()
        texts = column(tab, table, 2)
        values = [float(text.split(" ")[0]) for text in texts if text != "–"]
        assert values == sorted(values, reverse=order < 0)
        assert texts[len(values) :] == ["–"]
    tab.locator(f"{table} thead button", has_text="ε").first.click()
    assert column(tab, table, 5)[:2] == ["0.5", "1"]


def test_limits_above_the_chart_stand_on_its_edge_and_say_their_epsilon(opened, run):
    tab = opened()
    points = tables(run).points
    highest = points["advantage_high"].max()
    bounds = points[points["bound_advantage_mechanism"].notna() & (points["epsilon"] < 1e9)]
    above = bounds[bounds["bound_advantage_mechanism"] > 1.7 * highest]
    assert len(above) > 1
    written = tab.text_content("#chart svg")
    for row in above.itertuples():
        assert f"ε={row.epsilon:g}: {row.bound_advantage_mechanism:.3f}" in written
    tops = tab.evaluate(
        """() => {
        const box = (one) => one.getBoundingClientRect();
        const every = (path) => [...document.querySelectorAll(path)].map(box);
        const edge = box(document.querySelector('#chart .background')).top;
        const marks = every('#chart g.mark-symbol path')
          .filter((one) => Math.abs(one.top + one.height / 2 - edge) < 6);
        const dashes = every('#chart g.mark-rect path').map((one) => one.top - edge);
        return { marks: marks.length, dashes: Math.min(...dashes) };
        }"""
    )
    assert tops["marks"] == len(above)
    assert tops["dashes"] > 6, "no dash of a cell stands where the triangles do"


def test_the_table_of_attacks_has_them_all(opened, run):
    tab = opened()
    heads = tab.locator("#attack-grid thead th").all_text_contents()
    assert heads[1:] == list(dict.fromkeys(tables(run).attacks["label"]))
    own = tables(run).attacks
    own = own[(own["cell"] == "hamp") & (own["knowledge"] == "static")].set_index("label")
    tab.select_option("#grid select[name=knowledge]", "static")
    at = heads.index("rmia")
    texts = dict(zip(column(tab, "#attack-grid", 0), column(tab, "#attack-grid", at), strict=True))
    assert texts["hamp"] == f"{own.loc['rmia', 'advantage']:.3f}"
    assert texts["selena"] == "–"


def test_it_prints_without_controls(opened):
    tab = opened(scheme="dark")
    tab.emulate_media(media="print", color_scheme="light")
    assert not tab.is_visible("#filters")
    assert tab.is_visible("#chart svg")
    assert tab.pdf().startswith(b"%PDF")


def test_names_are_never_markup(browser, opened, tmp_path):
    hostile = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    run = simulated_run()
    for frame in (run.cells, run.attacks):
        frame["cell"] = frame["cell"].replace({"hamp": hostile})
    run.attacks["attack"] = run.attacks["attack"].replace({"malt": hostile})
    run.shift = {
        tuple({"hamp": hostile, "malt": hostile}.get(part, part) for part in key): value
        for key, value in run.shift.items()
    }
    file = tmp_path / "report.html"
    file.write_text(page(run, tables(run), [STILL]), encoding="utf-8")
    tab = opened(file)
    assert hostile in numbers(tab)
    unfold(tab)
    tab.locator("#numbers").get_by_role("button", name=re.compile("onerror")).click()
    tab.wait_for_selector("#curve svg")
    tab.click("#card summary")
    assert tab.locator("img[src=x]").count() == 0


def test_without_scripts_the_figure_is_still_there(browser, path):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(path.as_uri())
    assert tab.is_visible(f"#{HEADLINE} img")
    assert not tab.is_visible("#explorer")
    context.close()
