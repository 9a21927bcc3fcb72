"use strict";
(() => {
  const { data, at, make, number, leakText, accuracyText, options } = report;
  const form = at("filters");
  const families = new Map(data.families.map((one) => [one.name, one]));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const FLOOR = 1e-4; // where a logarithmic axis draws zero
  const CLOSE = 15; // pixels within which labels on the top edge are written together
  let chosen = null;

  const colorOf = (family) => (dark.matches ? families.get(family).dark : families.get(family).color);

  function fill() {
    options(form.elements.measure, Object.entries(data.measures));
    options(form.elements.track, Object.entries(data.tracks));
    options(form.elements.attack, [["best", "the best one, chosen on other models"],
      ...data.attacks.map(([label], index) => [index, label])]);
    const present = new Set(data.attacks.map(([, access]) => access));
    for (const [value, text] of Object.entries(data.access)) {
      if (present.has(value)) at("access").append(box("access", value, text));
    }
    for (const kind of new Set(data.families.map((one) => one.kind))) {
      const own = data.families.filter((one) => one.kind === kind);
      const into = kind ? make("span", "", { class: "kind", role: "group", "aria-label": kind }) : at("families");
      if (kind) {
        into.append(kindBox(kind, own));
        at("families").append(into);
      }
      for (const family of own) into.append(box("family", family.name, family.name, ...(kind ? [] : [glyphOf(family)])));
    }
  }

  const glyphOf = (family) =>
    make("span", family.glyph, { "aria-hidden": "true", class: "glyph", "data-family": family.name });

  // Ticks all families of a kind, or none.
  function kindBox(kind, own) {
    const label = box("kind", kind, kind, glyphOf(own[0]));
    label.firstChild.addEventListener("change", (event) => {
      for (const one of form.querySelectorAll("input[name=family]")) {
        if (own.some(({ name }) => name === one.value)) one.checked = event.target.checked;
      }
    });
    return label;
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
      return found ? { triple: found, attack: best[1][view.track][view.measure] || "not named" }
        : { reason: best ? "too few non-members for this rate" : "no attack has a result" };
    }
    const allowed = cell.attacks.filter(([index, knows, , , compared]) => knows === view.knowledge
      && view.access.has(data.attacks[index][1])
      && (view.attack === "best" ? compared : String(index) === view.attack));
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

  // The chart's ends: what was measured, and the limits near it. Higher limits stand on its top edge.
  function endsOf(shown, view) {
    const highest = Math.max(0.02, ...shown.map(({ triple }) => triple[2] ?? triple[0]));
    const lowest = Math.min(0, ...shown.map(({ triple }) => triple[1] ?? triple[0]));
    const limits = shown.map(({ cell }) => cell.limits[view.track][view.measure]).filter((one) => one <= 1.6 * highest);
    const top = 1.06 * Math.max(highest, ...limits);
    return view.measure === "advantage" ? [lowest - 0.02 * top, top] : [FLOOR, 1];
  }

  function point({ cell, order, accuracy, triple, attack }, view, top) {
    const floor = (value) => (view.measure === "advantage" || value === null ? value : Math.max(value, FLOOR));
    const limit = cell.limits[view.track][view.measure] ?? null, beyond = limit !== null && limit > top;
    const texts = { accuracy_text: accuracyText(accuracy), leak_text: leakText(triple, view.measure),
      limit_text: limit === null ? "none" : number(limit, view.measure) };
    return { cell: cell.cell, family: cell.family, order, attack,
      dash: limit === null || beyond ? null : true, limit: floor(limit),
      stem: beyond || null, beyond: beyond || null, edge: beyond ? `ε=${cell.epsilon[view.track]}: ${texts.limit_text}` : null,
      accuracy: accuracy[0], accuracy_low: accuracy[1], accuracy_high: accuracy[2],
      drawn: floor(triple[0]), low: floor(triple[1]), high: floor(triple[2]),
      color: colorOf(cell.family), shape: families.get(cell.family).shape, area: cell.family === "none" ? 300 : 110, ...texts,
      summary: `${cell.cell}: accuracy ${texts.accuracy_text}, ${data.measures[view.measure]} ${texts.leak_text}` };
  }

  // Writes neighbouring labels of the top edge as one, line under line.
  function together(points) {
    const ends = points.map((one) => one.accuracy), range = Math.max(...ends) - Math.min(...ends);
    const near = CLOSE * (range / Math.max(200, at("chart").clientWidth - 70));
    let head = null, last = 0;
    for (const one of [...points].sort((a, b) => a.accuracy - b.accuracy)) {
      if (one.edge === null) continue;
      if (head && one.accuracy - last < near) {
        if (!head.edge.split("\n").includes(one.edge)) head.edge += `\n${one.edge}`;
        one.edge = null;
      } else head = one;
      last = one.accuracy;
    }
    return points;
  }

  // Returns the chart's layers that have something to draw, on an axis with the given ends.
  function layersOf(spec, points, domain) {
    const layers = structuredClone(spec.layer)
      // A layer without a single value has no extent, which Vega warns of.
      .filter(({ name }) => !name || points.some((one) => one[name] !== null));
    for (const { encoding: { y } } of layers) {
      if (y && y.field && domain) y.scale = { ...y.scale, domain, nice: false, zero: false };
    }
    return layers;
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
    const ends = endsOf(shown, view), spec = data.scatter[view.measure];
    const points = together(shown.map((one) => point(one, view, ends[1])));
    points.sort((one, other) => (one.family === "none") - (other.family === "none")); // what all are measured by is on top
    const layer = layersOf(spec, points, view.measure === "advantage" ? ends : null);
    const { view: drawing } = await embed("#chart", { ...spec, layer }, { points });
    drawing.addEventListener("click", (_, item) => { if (item && item.datum && item.datum.cell) choose(item.datum.cell); });
  }

  function tabulate(shown, view) {
    report.tabulate(at("numbers"), ["cell", "test accuracy", data.measures[view.measure], "attack", "limit"],
      shown.map(({ cell, accuracy, triple, attack }) => {
        const row = make("tr"), name = make("th", "", { scope: "row" });
        const button = make("button", cell.cell, { type: "button", class: "link" });
        button.addEventListener("click", () => choose(cell.cell));
        name.append(button);
        const limit = cell.limits[view.track][view.measure] ?? null;
        row.append(name, make("td", accuracyText(accuracy)), make("td", leakText(triple, view.measure)), make("td", attack),
          make("td", limit === null ? "–" : number(limit, view.measure)));
        return row;
      }));
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
    const leaks = row && row[3][view.track];
    if (!leaks) return [];
    return [[0.01, "tpr_at_fpr_0.01"], [0.001, "tpr_at_fpr_0.001"]]
      .filter(([, name]) => leaks[name] && leaks[name][1] !== null)
      .map(([fpr, name]) => ({ fpr, low: Math.max(leaks[name][1], FLOOR), high: Math.max(leaks[name][2], FLOOR), color }));
  }

  function attacksOf(cell, view) {
    const measures = Object.keys(data.measures);
    const table = make("table");
    const sorted = [...cell.attacks].sort((one, other) => leak(other) - leak(one));
    function leak(row) { return ((row[3][view.track] || {})[view.measure] || [-2])[0]; }
    const rows = sorted.map(([index, knows, reason, leaks, compared]) => {
      const row = make("tr"), [label, access] = data.attacks[index], own = leaks[view.track] || {};
      row.append(make("th", compared ? label : `${label}*`, { scope: "row" }), make("td", data.access[access] || access),
        make("td", knows === "adaptive" ? "yes" : "no"));
      if (Object.keys(own).length) for (const name of measures) row.append(make("td", leakText(own[name], name)));
      else row.append(make("td", reason || "no result", { colspan: measures.length, class: "why" }));
      return row;
    });
    report.tabulate(table, ["attack", "sees", "knows the defense", ...Object.values(data.measures)], rows);
    const details = make("details"), wide = make("div", "", { class: "wide", tabindex: "0", role: "region", "aria-label": `Attacks on ${cell.cell}` });
    wide.append(table);
    details.append(make("summary", `All ${cell.attacks.length} attacks on it`), wide);
    if (sorted.some((row) => !row[4])) {
      details.append(make("p", "* holds the weights, which no mask hides: not compared with the others.", { class: "quiet" }));
    }
    return details;
  }

  const redraw = () => draw().then(() => (chosen === null ? null : choose(chosen)));
  const tick = (on) => { for (const one of form.querySelectorAll("input[name=family], input[name=kind]")) one.checked = on; redraw(); };
  at("all").addEventListener("click", () => tick(true));
  at("none").addEventListener("click", () => tick(false));
  form.addEventListener("change", redraw);
  form.addEventListener("submit", (event) => event.preventDefault());
  dark.addEventListener("change", redraw);
  at("explorer").hidden = false;
  fill();
  draw();
})();
