"use strict";
// The charts of one SLO from /api/v1/slos/{name}/history; drawn anew when data, range, theme or width change.
(() => {
  const box = document.getElementById("charts");
  const state = document.getElementById("chart-state");
  const pairs = box.dataset.pairs.split(";").filter(Boolean).map((one) => {
    const [severity, long, short, threshold] = one.split(",");
    return { severity, long: Number(long), short: Number(short), threshold: Number(threshold) };
  });
  const target = Number(box.dataset.target);
  const groups = Object.entries(JSON.parse(box.dataset.group)).map(([key, value]) => [`group.${key}`, value]);
  const buttons = [...box.querySelectorAll(".ranges button")];
  const kept = Number(new URLSearchParams(location.search).get("range"));
  let seconds = buttons.some((one) => Number(one.dataset.seconds) === kept) ? kept : Number(box.dataset.opening);
  let course = null, marks = [], notes = [], plots = [], asking = null;

  const duration = (value) => {
    for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"]]) if (value % size === 0 && value >= size) return `${value / size}${unit}`;
    return `${value}s`;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (value, digits = 1) => value == null ? "–" : `${(100 * value).toFixed(digits)}%`;
  const brief = (value) => value == null ? "–" : Math.abs(value) >= 1000 ? Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value) : String(Number(value.toPrecision(3)));

  async function load() {
    asking?.abort();
    const mine = asking = new AbortController();
    const name = encodeURIComponent(box.dataset.name);
    const query = new URLSearchParams([["start", `-${seconds}s`], ...groups]);
    const events = new URLSearchParams([["slo", box.dataset.name], ["start", `-${seconds}s`], ["limit", "50"]]);
    const about = new URLSearchParams([["slo", box.dataset.name], ["start", `-${seconds}s`], ["limit", "100"]]);
    if (!course) state.textContent = "Loading …";
    try {
      const [history, timeline, noted] = await Promise.all([
        fetch(`/api/v1/slos/${name}/history?${query}`, { signal: mine.signal }),
        fetch(`/api/v1/events?${events}`, { signal: mine.signal }),
        fetch(`/api/v1/annotations?${about}`, { signal: mine.signal }),
      ]);
      if (!history.ok) throw new Error((await history.json()).detail);
      course = await history.json();
      const own = ({ payload }) => groups.every(([key, value]) => [undefined, value].includes(payload.labels?.[key.slice(6)]));
      marks = timeline.ok ? (await timeline.json()).events.filter(own) : [];
      notes = noted.ok ? (await noted.json()).annotations : [];
      const known = course.points.some((one) => one.total !== null || one.error_budget_remaining !== null);
      state.textContent = known ? "" : `Nothing is known of the last ${duration(seconds)}. Charts appear with the first data.`;
      box.classList.toggle("unknown", !known);
      draw();
      list();
    } catch (error) {
      if (error.name !== "AbortError") state.textContent = `The history could not be read: ${error.message}`;
    }
  }

  // Deploys, incidents and corrections in words, below the charts.
  const list_ = document.getElementById("marks");
  const words = { deploy: "Deploy", incident: "Incident", note: "Note" };
  const clock = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  function made(tag, classes, text) {
    const one = document.createElement(tag);
    one.className = classes;
    one.textContent = text;
    return one;
  }
  function list() {
    const lines = [
      ...notes.map((one) => ({ at: one.at, until: one.until, kind: one.kind, name: words[one.kind], text: one.text, link: one.link, author: one.author })),
      ...course.corrections.map((one) => ({ at: one.start, until: one.end, kind: "correction", name: "Not counted", text: `${one.name}: ${one.reason}`, author: one.author })),
    ].sort((one, other) => Date.parse(other.at) - Date.parse(one.at));
    list_.hidden = !lines.length;
    list_.replaceChildren(...lines.map((one) => {
      const item = document.createElement("li");
      const times = clock.format(new Date(one.at)) + (one.until ? ` – ${clock.format(new Date(one.until))}` : "");
      item.append(made("span", `chip ${one.kind}`, one.name), " ", made("span", "sub", times), " ");
      if (/^https?:/i.test(one.link || "")) {
        const link = made("a", "", one.text);
        link.href = one.link; link.rel = "noopener noreferrer"; link.target = "_blank";
        item.append(link);
      } else item.append(made("span", "", one.text));
      if (one.author) item.append(" ", made("span", "sub", one.author));
      return item;
    }));
  }

  // Deploys and incidents: a line with a flag that says more on hover or tap; what is not counted is shaded.
  const kinds = { deploy: "--c3", incident: "--bad", note: "--soft" };
  const noted = { hooks: {
    drawClear: [(plot) => {
      const { ctx } = plot, { top, height, left, width } = plot.bbox;
      const shade = (from, until, name) => {
        const [x, end] = [from, until].map((at) => Math.min(Math.max(plot.valToPos(Date.parse(at) / 1000, "x", true), left), left + width));
        if (end <= x) return;
        ctx.fillStyle = faint(name);
        ctx.fillRect(x, top, end - x, height);
      };
      ctx.save();
      for (const one of course.corrections) shade(one.start, one.end, "--soft");
      for (const one of notes) if (one.until) shade(one.at, one.until, kinds[one.kind]);
      ctx.restore();
    }],
    draw: [(plot) => {
      for (const old of plot.over.querySelectorAll(".flag")) old.remove();
      const { ctx } = plot, { top, height } = plot.bbox;
      ctx.save();
      ctx.lineWidth = 1.5 * devicePixelRatio;
      for (const one of notes) {
        const at = Date.parse(one.at) / 1000;
        if (at < plot.scales.x.min || at > plot.scales.x.max) continue;
        ctx.strokeStyle = colour(kinds[one.kind]);
        const x = Math.round(plot.valToPos(at, "x", true));
        ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
        const flag = made("button", `flag ${one.kind}`, ""), place = plot.valToPos(at, "x");
        flag.type = "button";
        flag.style.left = `${place}px`;
        flag.setAttribute("aria-label", `${words[one.kind]}: ${one.text}`);
        flag.append(made("span", place > plot.over.clientWidth / 2 ? "tip left" : "tip", `${words[one.kind]} ${clock.format(new Date(one.at))}: ${one.text}`));
        plot.over.append(flag);
      }
      ctx.restore();
    }],
  } };

  // Fires or ends of alerts, as thin lines with the colour of what happened.
  const bad = new Set(["slo_burn_started", "slo_budget_exhausted", "slo_data_lost"]);
  const marked = { hooks: { draw: [(plot) => {
    const { ctx } = plot, { top, height } = plot.bbox;
    ctx.save();
    ctx.lineWidth = Math.max(1, devicePixelRatio);
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const mark of marks) {
      const at = Date.parse(mark.at) / 1000;
      if (at < plot.scales.x.min || at > plot.scales.x.max) continue;
      ctx.strokeStyle = colour(bad.has(mark.kind) ? "--bad" : "--good");
      const x = Math.round(plot.valToPos(at, "x", true));
      ctx.beginPath(); ctx.moveTo(x, top); ctx.lineTo(x, top + height); ctx.stroke();
    }
    ctx.restore();
  }] } };
  const ruled = (lines, scale = "y") => ({ hooks: { draw: [(plot) => {
    const { ctx } = plot, { left, width } = plot.bbox;
    ctx.save();
    ctx.lineWidth = 1.5 * devicePixelRatio;
    for (const [value, name, dash] of lines) {
      const { min, max } = plot.scales[scale];
      if (value < min || value > max) continue;
      ctx.strokeStyle = colour(name);
      ctx.setLineDash(dash ? [6 * devicePixelRatio, 4 * devicePixelRatio] : []);
      const y = Math.round(plot.valToPos(value, scale, true));
      ctx.beginPath(); ctx.moveTo(left, y); ctx.lineTo(left + width, y); ctx.stroke();
    }
    ctx.restore();
  }] } });

  function options(plot, { series, values, y, plugins = [], size = 56, splits = null }) {
    const grid = { stroke: colour("--line"), width: 1 }, stroke = colour("--soft");
    const font = "11px system-ui, sans-serif";
    return {
      width: plot.clientWidth, height: 220, plugins, series: [{ label: "", value: (_, at) => at == null ? "–" : clock.format(new Date(at * 1000)) }, ...series],
      cursor: { sync: { key: "slo" }, points: { size: 6 }, y: false, drag: { x: false, y: false } },
      legend: { live: true },
      scales: { x: { time: true }, y },
      axes: [{ stroke, grid: { show: false }, ticks: grid, font, size: 34, space: 64, values: (_, splits, __, ___, step) => times(splits, step) }, { stroke, grid, ticks: { show: false }, size, font, values, ...(splits ? { splits } : {}) }],
    };
  }
  // Ticks of the time axis: days by name, times of day below that, with the day where it begins.
  const dayName = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
  const timeName = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const times = (splits, step) => splits.map((at) => {
    const date = new Date(at * 1000), midnight = !date.getHours() && !date.getMinutes();
    return step >= 86400 || midnight ? dayName.format(date) : timeName.format(date);
  });
  const line = (label, name, value, more = {}) => ({ label, stroke: colour(name), width: 1.8, value: (_, x) => value(x), points: { show: false }, spanGaps: false, ...more });
  const faint = (name) => { const at = colour(name); return /^#[0-9a-f]{6}$/i.test(at) ? `${at}26` : at; };

  const charts = {
    budget(plot) {
      const values = course.points.map((one) => one.error_budget_remaining);
      const low = Math.min(0, ...values.filter((one) => one !== null));
      return [options(plot, {
        series: [line("left", "--c1", (x) => percent(x), { fill: faint("--c1") })],
        values: (_, ticks) => ticks.map((x) => percent(x, 0)),
        y: { range: () => [low < 0 ? low * 1.08 : 0, 1.02] },
        plugins: [noted, ruled([[0, "--bad", false]]), marked],
      }), [values]];
    },
    burn(plot) {
      const windows = [...new Set(pairs.map((one) => one.long))].slice(0, 4);
      const names = ["--c2", "--c3", "--c1", "--c4"];
      const series = windows.map((one, place) => line(duration(one), names[place], (x) => x == null ? "–" : `${brief(x)}×`));
      const values = windows.map((one) => course.points.map((point) => point.burn_rates[one] ?? null));
      const top = Math.max(1, ...pairs.map((one) => one.threshold), ...values.flat().filter((one) => one !== null)) * 1.3;
      const rules = pairs.map((one) => [one.threshold, names[windows.indexOf(one.long)] ?? "--soft", true]);
      return [options(plot, {
        series, values: (_, ticks) => ticks.map((x) => x == null ? null : `${brief(x)}×`),
        splits: () => [0, 1, 3, 10, 30, 100, 300, 1000, 3000].filter((one) => one <= top),
        y: { distr: 4, asinh: 1, range: () => [0, top] }, plugins: [noted, ruled(rules), marked],
      }), values];
    },
    traffic(plot) {
      let before = Date.parse(course.start) / 1000;
      const [good, failed] = [[], []];
      for (const one of course.points) {
        const at = Date.parse(one.at) / 1000, known = (at - before) * one.coverage;
        before = at;
        good.push(one.total === null || !known ? null : (one.total - one.failures) / known);
        failed.push(one.total === null || !known ? null : one.failures / known);
      }
      return [options(plot, {
        series: [line("good/s", "--good", brief, { fill: faint("--good"), width: 1.4 }), line("bad/s", "--bad", brief, { fill: colour("--bad"), width: 1.4 })],
        values: (_, ticks) => ticks.map(brief), y: { range: (_, low, high) => [0, (high || 1) * 1.1] }, plugins: [noted, marked],
      }), [good, failed]];
    },
    sli(plot) {
      const values = course.points.map((one) => one.success_ratio);
      const low = Math.min(target, ...values.filter((one) => one !== null));
      const room = Math.max((1 - low) * 0.15, (1 - target) * 0.2);
      const digits = Math.min(6, Math.max(1, Math.ceil(-Math.log10((1 - low) * 100 || 1)) + 1));
      return [options(plot, {
        series: [line("success", "--c4", (x) => percent(x, Math.max(digits, 3)))], size: 66,
        values: (_, ticks) => ticks.map((x) => x > 1 ? "" : percent(x, digits)), y: { range: () => [low - room, 1 + room / 3] },
        plugins: [noted, ruled([[target, "--warn", true]]), marked],
      }), [values]];
    },
  };

  function draw() {
    if (!course || box.classList.contains("unknown")) return;
    for (const plot of plots) plot.destroy();
    plots = [];
    const x = course.points.map((one) => Date.parse(one.at) / 1000);
    for (const figure of box.querySelectorAll("[data-chart]")) {
      const place = figure.querySelector(".plot");
      const [settings, values] = charts[figure.dataset.chart](place);
      const plot = new uPlot(settings, [x, ...values], place);
      setTimeout(() => plot.setLegend({ idx: x.length - 1 }), 0); // the newest figures until somebody points elsewhere
      const canvas = place.querySelector("canvas"); // the same in words: the newest figures
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", settings.series.slice(1).map((one, n) => `${one.label} ${one.value(null, values[n].at(-1))}`).join(", "));
      plots.push(plot);
    }
    box.dataset.drawn = String(Number(box.dataset.drawn || 0) + 1);
  }

  for (const button of buttons) button.addEventListener("click", () => {
    seconds = Number(button.dataset.seconds);
    const query = new URLSearchParams(location.search);
    query.set("range", seconds);
    history.replaceState(null, "", `?${query}`);
    press();
    load();
  });
  function press() { for (const one of buttons) one.setAttribute("aria-pressed", String(Number(one.dataset.seconds) === seconds)); }
  let soon = 0;
  new ResizeObserver(() => { clearTimeout(soon); soon = setTimeout(() => { if (plots.some((one) => one.width !== one.root.parentNode.clientWidth)) draw(); }, 120); }).observe(box);
  document.addEventListener("restyled", draw);
  document.addEventListener("refreshed", load);
  press();
  load();
})();
