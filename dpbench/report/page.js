"use strict";
// What every part of the page uses: the run's data, texts of numbers, and tables that can be sorted.
const report = (() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const at = (id) => document.getElementById(id);

  // Texts from data enter the page through textContent only: a name can never be markup.
  const make = (tag, text = "", attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const percent = (value, digits) => `${(100 * value).toFixed(digits)} %`;
  const number = (value, measure) =>
    measure === "advantage" ? value.toFixed(3)
      : percent(value, measure === "tpr_at_fpr_0.001" ? 2 : 1);
  const interval = (triple, show) => {
    if (!triple) return "–";
    const [value, low, high] = triple;
    return low === null || high === null ? show(value)
      : `${show(value)} [${[low, high].map((end) => show(end).replace(" %", "")).join(", ")}]`;
  };
  const leakText = (triple, measure) => interval(triple, (value) => number(value, measure));
  const accuracyText = (triple) => interval(triple, (value) => percent(value, 1));

  function options(select, pairs) {
    for (const [value, text] of pairs) select.append(make("option", text, { value }));
    select.parentElement.hidden = pairs.length < 2;
  }

  // The number that a field begins with; what is none stands last in either order.
  function value(row, column) {
    const text = row.children[column] ? row.children[column].textContent.trim() : "";
    if (column === 0) return text;
    if (text.startsWith("∞")) return Infinity;
    const found = text.match(/^\(?(-?\d[\d.]*(e[-+]?\d+)?)/i);
    return found ? Number(found[1]) : text && text !== "–" ? text : null;
  }

  function compare(one, other, sign) {
    if (one === null || other === null) return (one === null) - (other === null);
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return sign * (typeof one === "number" ? one - other || 0 : one.localeCompare(other, "en", { numeric: true }));
  }

  // Lets a long name break after its punctuation, and not within a word.
  function breakable(name) {
    const target = name.querySelector("button") || name;
    const pieces = target.textContent.split(/(?<=[_+(,=])/);
    target.replaceChildren(...pieces.flatMap((piece, i) => (i ? [make("wbr"), piece] : [piece])));
  }

  // Makes the head of a table its switch: first ascending, then descending.
  function sortable(table) {
    table.querySelectorAll("tbody th").forEach(breakable);
    const heads = [...table.querySelectorAll("thead th")];
    heads.forEach((head, column) => {
      const button = make("button", head.textContent, { type: "button", class: "sort" });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const one of heads) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        rows.sort(([one], [other]) => compare(one, other, up ? 1 : -1));
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  function tabulate(table, heads, rows) {
    const thead = make("thead"), tbody = make("tbody"), head = make("tr");
    head.append(...heads.map((text) => make("th", text, { scope: "col" })));
    thead.append(head);
    tbody.append(...rows);
    table.replaceChildren(thead, tbody);
    sortable(table);
  }

  for (const table of document.querySelectorAll("table.sortable")) sortable(table);
  return { data, at, make, percent, number, interval, leakText, accuracyText, options, tabulate };
})();

// The leaderboard: who leaks least among those that cost no more accuracy than the reader allows.
(() => {
  const { data, at, make, number, leakText, accuracyText, options, tabulate } = report;
  const form = at("budget");
  const STEP = 0.5; // points of accuracy
  const value = (name) => form.elements[name].value;

  function candidates(measure, track) {
    const reference = data.cells.find((one) => one.family === "none" && one.accuracy[track]);
    const known = data.cells.filter((one) => one.accuracy[track]);
    const most = reference ? reference.accuracy[track][0] : Math.max(...known.map((one) => one.accuracy[track][0]));
    return known.filter((one) => one.family !== "none").flatMap((cell) => {
      const best = cell.best.find(([knows]) => knows === "adaptive");
      const triple = best && (best[2][track] || {})[measure];
      if (!triple) return [];
      const upper = cell.upper[track][measure] ?? triple[2] ?? triple[0];
      return [{ cell, triple, upper, low: triple[1] ?? triple[0], attack: best[1][track][measure] || "not named",
        lost: 100 * (most - cell.accuracy[track][0]) }];
    });
  }

  // The places that the intervals allow: nobody is above whom the limits do not set apart.
  function place(one, all) {
    const first = 1 + all.filter((other) => other.upper < one.low).length;
    const last = all.length - all.filter((other) => other.low > one.upper).length;
    return first >= last ? `${first}` : `${first}–${last}`;
  }

  function row(one, all, measure, track) {
    const { cell, triple, attack, lost } = one, epsilon = cell.epsilon[track];
    const limit = cell.limits[track][measure];
    const guarantee = epsilon === null ? "none"
      : `ε = ${epsilon}${limit === undefined || limit === null ? "" : `: at most ${number(limit, measure)}`}`;
    const line = make("tr"), leak = make("td", leakText(triple, measure));
    leak.append(make("span", `${attack}${cell.static_only ? " (static only)" : ""}`, { class: "by" }));
    line.append(make("th", cell.cell, { scope: "row" }), make("td", place(one, all)), leak, make("td", number(one.upper, measure)),
      make("td", guarantee), make("td", lost.toFixed(1).replace("-0.0", "0.0")), make("td", accuracyText(cell.accuracy[track])));
    return line;
  }

  function show() {
    const measure = value("measure"), track = value("track"), allowed = Number(value("lost"));
    const all = candidates(measure, track);
    at("allowed").textContent = allowed.toFixed(1);
    const within = all.filter((one) => one.lost <= allowed + 1e-9).sort((one, other) => one.triple[0] - other.triple[0]);
    at("ranked").textContent = within.length
      ? `${within.length} of ${all.length} cells lose at most ${allowed.toFixed(1)} points of accuracy.`
      : `No cell loses at most ${allowed.toFixed(1)} points of accuracy.`;
    tabulate(at("leaderboard"), ["defense", "place", `${data.measures[measure]}, attack`, "upper limit, all attacks", "guarantee",
      "accuracy lost, points", "test accuracy"], within.map((one) => row(one, within, measure, track)));
  }

  options(form.elements.measure, Object.entries(data.measures));
  options(form.elements.track, Object.entries(data.tracks));
  const costs = candidates("advantage", "average").map((one) => one.lost);
  if (!costs.length) return;
  form.elements.lost.max = String(Math.max(1, STEP * Math.ceil(Math.max(...costs) / STEP)));
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  at("ranking").hidden = false;
  show();
})();

// Every attack on every cell, where the heat map shows the strongest.
(() => {
  const { data, at, make, number, options, tabulate } = report;
  const form = at("grid");
  const value = (name) => form.elements[name].value;

  function show() {
    const measure = value("measure"), track = value("track"), knowledge = value("knowledge");
    const finds = (row) => ((row[3][track] || {})[measure] || [null])[0];
    const rows = data.cells.map((cell) => [cell, new Map(cell.attacks.filter((one) => one[1] === knowledge).map((one) => [one[0], one]))]);
    const used = data.attacks.map((_, index) => index).filter((index) => rows.some(([, own]) => own.has(index)));
    const body = rows.map(([cell, own]) => {
      const line = make("tr"), known = [...own.values()].filter((one) => one[4] && finds(one) !== null);
      const most = Math.max(...known.map(finds));
      line.append(make("th", cell.cell, { scope: "row" }));
      for (const index of used) {
        const one = own.get(index), found = one ? finds(one) : null;
        const text = found === null ? "–" : `${number(found, measure).replace(" %", "")}${one[4] ? "" : "*"}`;
        line.append(make("td", text, found !== null && one[4] && found === most ? { class: "most" } : {}));
      }
      return line;
    });
    tabulate(at("attack-grid"), ["defense", ...used.map((index) => data.attacks[index][0])], body);
  }

  if (!data.attacks.length) return;
  options(form.elements.measure, Object.entries(data.measures));
  options(form.elements.track, Object.entries(data.tracks));
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  at("every-attack").hidden = false;
  show();
})();
