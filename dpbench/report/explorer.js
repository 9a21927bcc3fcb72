"use strict";
(() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const at = (id) => document.getElementById(id);
  const form = at("filters");
  const families = new Map(data.families.map((one) => [one.name, one]));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const FLOOR = 1e-4; // where a logarithmic axis draws zero
  let chosen = null;

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
  const colorOf = (family) => (dark.matches ? families.get(family).dark : families.get(family).color);

  function fill() {
    const options = (select, pairs) => {
      for (const [value, text] of pairs) form.elements[select].append(make("option", text, { value }));
    };
    options("measure", Object.entries(data.measures));
    options("track", Object.entries(data.tracks));
    options("attack", [["best", "the best one, chosen on other models"],
      ...data.attacks.map(([label], index) => [index, label])]);
    form.elements.track.parentElement.hidden = Object.keys(data.tracks).length < 2;
    const present = new Set(data.attacks.map(([, access]) => access));
    for (const [value, text] of Object.entries(data.access)) {
      if (present.has(value)) at("access").append(box("access", value, text));
    }
    for (const family of data.families) {
      const glyph = make("span", family.glyph, { "aria-hidden": "true", class: "glyph", "data-family": family.name });
      at("families").append(box("family", family.name, family.name, glyph));
    }
  }

  function box(name, value, text, ...before) {
    const label = make("label");
    const input = make("input", "", { type: "checkbox", name, value });
    input.checked = true;
    label.append(input, " ", ...before, before.length ? ` ${text}` : text);
    return label;
  }

  const ticked = (name) =>
    new Set([...form.querySelectorAll(`input[name=${name}]`)].filter((one) => one.checked).map((one) => one.value));

  function state() {
    const value = (name) => form.elements[name].value;
    const access = ticked("access");
    const every = form.querySelectorAll("input[name=access]").length === access.size;
    return { measure: value("measure"), track: value("track"), knowledge: value("knowledge"),
      attack: value("attack"), access, every, families: ticked("family") };
  }

  // Returns what the state's attack finds on a cell, or why there is nothing.
  function finding(cell, view) {
    const triple = (leaks) => (leaks[view.track] || {})[view.measure];
    if (cell.status !== "done") return { reason: `${cell.status.replace("_", " ")}: ${cell.reason}` };
    if (view.attack === "best" && view.every) {
      const best = cell.best.find(([knows]) => knows === view.knowledge);
      const found = best && triple(best[2]);
      return found ? { triple: found, attack: best[1][view.track] || "not named" }
        : { reason: best ? "too few non-members for this rate" : "no attack has a result" };
    }
    const allowed = cell.attacks.filter(([index, knows]) => knows === view.knowledge
      && view.access.has(data.attacks[index][1])
      && (view.attack === "best" || String(index) === view.attack));
    const able = allowed.filter((row) => triple(row[3]));
    if (!able.length) return { reason: (allowed[0] && allowed[0][2]) || "no such attack has a number" };
    const most = able.reduce((one, other) => (triple(other[3])[0] > triple(one[3])[0] ? other : one));
    return { triple: triple(most[3]), attack: data.attacks[most[0]][0] };
  }

  function rows(view) {
    const shown = [], missing = [];
    data.cells.forEach((cell, order) => {
      if (!view.families.has(cell.family)) return;
      const found = finding(cell, view);
      const accuracy = cell.accuracy[view.track];
      if (found.triple && accuracy) shown.push({ cell, order, accuracy, ...found });
      else missing.push({ cell, reason: found.reason || "no accuracy on these examples" });
    });
    return { shown, missing };
  }

  // The chart's upper end: what was measured, and the limits near it. Higher limits are off the chart.
  function topOf(shown, view) {
    const highest = Math.max(0.02, ...shown.map(({ triple }) => triple[2] ?? triple[0]));
    const limits = shown.map(({ cell }) => cell.limits[view.track][view.measure]).filter((one) => one <= 2 * highest);
    return view.measure === "advantage" ? Math.max(highest, ...limits) : 1;
  }

  function point({ cell, order, accuracy, triple, attack }, view, top) {
    const floor = (value) => (view.measure === "advantage" || value === null ? value : Math.max(value, FLOOR));
    const limit = cell.limits[view.track][view.measure] ?? null;
    const texts = { accuracy_text: accuracyText(accuracy), leak_text: leakText(triple, view.measure),
      limit_text: limit === null ? "none" : number(limit, view.measure) };
    return { cell: cell.cell, family: cell.family, order, attack,
      limit: limit !== null && limit > top ? null : floor(limit), beyond: limit !== null && limit > top ? top : null,
      accuracy: accuracy[0], accuracy_low: accuracy[1], accuracy_high: accuracy[2],
      drawn: floor(triple[0]), low: floor(triple[1]), high: floor(triple[2]),
      color: colorOf(cell.family), shape: families.get(cell.family).shape, ...texts,
      summary: `${cell.cell}: accuracy ${texts.accuracy_text}, ${data.measures[view.measure]} ${texts.leak_text}` };
  }

  function look() {
    const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { labelColor: css("--ink"), titleColor: css("--ink"), gridColor: css("--line"),
      domainColor: css("--quiet"), tickColor: css("--quiet"), labelFontSize: 12, titleFontSize: 13 };
    return { background: null, axis, view: { stroke: null }, font: "system-ui, sans-serif" };
  }

  const embed = (target, spec, datasets) =>
    vegaEmbed(target, { ...spec, datasets }, { mode: "vega-lite", actions: false, renderer: "svg", config: look(),
      tooltip: { theme: dark.matches ? "dark" : "light" } });

  let drawn = Promise.resolve(); // one chart after the other: two at once would share an element

  function draw() {
    const view = state();
    const { shown, missing } = rows(view);
    const biased = view.attack === "best" && !view.every
      ? " The largest of the attacks ticked is shown: chosen and measured on the same models, it is a little too large." : "";
    const none = missing.length ? ` Without a number: ${missing.map(({ cell, reason }) => `${cell.cell} (${reason})`).join("; ")}.` : "";
    at("shown").textContent = `${shown.length} of ${data.cells.length} cells are shown.${biased}${none}`;
    tabulate(shown, view);
    for (const glyph of form.querySelectorAll(".glyph")) glyph.style.color = colorOf(glyph.dataset.family);
    drawn = drawn.then(() => chart(shown, view));
    return drawn;
  }

  async function chart(shown, view) {
    if (!shown.length) {
      at("chart").replaceChildren(make("p", "No cell has a number here.", { class: "quiet" }));
      return;
    }
    const top = topOf(shown, view);
    const points = shown.map((one) => point(one, view, top)), spec = data.scatter[view.measure];
    // A layer without a single value has no extent, which Vega warns of.
    const layer = spec.layer.filter(({ name }) => !name || points.some((one) => one[name] !== null));
    const { view: drawing } = await embed("#chart", { ...spec, layer }, { points });
    drawing.addEventListener("click", (_, item) => { if (item && item.datum && item.datum.cell) choose(item.datum.cell); });
  }

  function tabulate(shown, view) {
    const head = make("tr");
    for (const text of ["cell", "test accuracy", data.measures[view.measure], "attack", "limit"]) {
      head.append(make("th", text, { scope: "col" }));
    }
    const body = shown.map(({ cell, accuracy, triple, attack }) => {
      const row = make("tr"), name = make("th", "", { scope: "row" });
      const button = make("button", cell.cell, { type: "button", class: "link" });
      button.addEventListener("click", () => choose(cell.cell));
      name.append(button);
      const limit = cell.limits[view.track][view.measure];
      row.append(name, make("td", accuracyText(accuracy)), make("td", leakText(triple, view.measure)), make("td", attack),
        make("td", limit === undefined || limit === null ? "–" : number(limit, view.measure)));
      return row;
    });
    const thead = make("thead"), tbody = make("tbody");
    thead.append(head);
    tbody.append(...body);
    at("numbers").replaceChildren(thead, tbody);
  }

  async function choose(name) {
    chosen = name;
    const view = state();
    const cell = data.cells.find((one) => one.cell === name);
    const facts = make("dl"), curve = make("div", "", { id: "curve" });
    const add = (term, text) => facts.append(make("dt", term), make("dd", text));
    add(`test accuracy, ${data.tracks[view.track]}`, accuracyText(cell.accuracy[view.track]));
    for (const [term, text] of cell.facts) add(term, text);
    const close = make("button", "close", { type: "button", class: "close" });
    close.addEventListener("click", () => { chosen = null; at("card").replaceChildren(); document.querySelector("#list > summary").focus(); });
    at("card").replaceChildren(close, make("h3", name), facts, curve, attacksOf(cell, view));
    at("card").focus({ preventScroll: true });
    at("card").scrollIntoView({ block: "nearest" });
    await drawCurve(cell, view, curve);
  }

  async function drawCurve(cell, view, target) {
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--quiet").trim();
    const curves = [], color = colorOf(cell.family);
    const add = (curve, xs, ys, shade, dash) =>
      xs.forEach((fpr, i) => curves.push({ curve, fpr, tpr: Math.max(ys[i], FLOOR), color: shade, dash }));
    add("guessing", [FLOOR, 1], [FLOOR, 1], ink, [2, 3]);
    const own = cell.curves[view.track];
    const plain = data.cells.find((one) => one.family === "none" && one !== cell);
    const other = plain && plain.curves[view.track];
    if (other) add("no defense", other.fpr, other.tpr, colorOf("none"), [1, 0]);
    if (own) add(cell.cell, own.fpr, own.tpr, color, [1, 0]);
    if (own && own.limit) add("the mechanism's limit", own.fpr, own.limit, color, [6, 4]);
    if (!own) {
      target.replaceWith(make("p", "There is no ROC curve: the run has no scores here.", { class: "quiet" }));
      return;
    }
    const drawing = make("div"), label = data.tracks[view.track];
    target.append(make("p", `ROC on ${label} of ${own.attack}, the strongest adaptive attack, on logarithmic axes. Solid: measured`
      + `${other ? `; the other solid line: no defense` : ""}. Dashed: the mechanism's limit, where there is one. Dotted: guessing. `
      + "Thick bars: 95 % intervals at 1 % and 0.1 % FPR. Thresholds are swept over the evaluated scores themselves.", { class: "caption" }), drawing);
    await embed(drawing, data.roc, { curves, intervals: bars(cell, own.attack, view, color) });
  }

  function bars(cell, attack, view, color) {
    const row = cell.attacks.find(([index, knows]) => knows === "adaptive" && data.attacks[index][0] === attack);
    const best = cell.best.find(([knows]) => knows === "adaptive");
    const leaks = view.track === "canary" ? best && best[2].canary : row && row[3].average;
    if (!leaks) return [];
    return [[0.01, "tpr_at_fpr_0.01"], [0.001, "tpr_at_fpr_0.001"]]
      .filter(([, name]) => leaks[name] && leaks[name][1] !== null)
      .map(([fpr, name]) => ({ fpr, low: Math.max(leaks[name][1], FLOOR), high: Math.max(leaks[name][2], FLOOR), color }));
  }

  function attacksOf(cell, view) {
    const measures = Object.keys(data.measures);
    const head = make("tr"), tbody = make("tbody"), thead = make("thead"), table = make("table");
    for (const text of ["attack", "sees", "knows the defense", ...Object.values(data.measures)]) head.append(make("th", text, { scope: "col" }));
    const sorted = [...cell.attacks].sort((one, other) => leak(other) - leak(one));
    function leak(row) { return ((row[3][view.track] || {})[view.measure] || [-2])[0]; }
    for (const [index, knows, reason, leaks] of sorted) {
      const row = make("tr"), [label, access] = data.attacks[index], own = leaks[view.track] || {};
      row.append(make("th", label, { scope: "row" }), make("td", data.access[access] || access), make("td", knows === "adaptive" ? "yes" : "no"));
      if (Object.keys(own).length) for (const name of measures) row.append(make("td", leakText(own[name], name)));
      else row.append(make("td", reason || "no result", { colspan: measures.length, class: "why" }));
      tbody.append(row);
    }
    thead.append(head);
    table.append(thead, tbody);
    const details = make("details"), wide = make("div", "", { class: "wide", tabindex: "0", role: "region", "aria-label": `Attacks on ${cell.cell}` });
    wide.append(table);
    details.append(make("summary", `All ${cell.attacks.length} attacks on it`), wide);
    return details;
  }

  const redraw = () => draw().then(() => (chosen === null ? null : choose(chosen)));
  const tick = (on) => { for (const one of form.querySelectorAll("input[name=family]")) one.checked = on; redraw(); };
  at("all").addEventListener("click", () => tick(true));
  at("none").addEventListener("click", () => tick(false));
  form.addEventListener("change", redraw);
  form.addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", redraw);
  at("explorer").hidden = false;
  fill();
  draw();
})();
