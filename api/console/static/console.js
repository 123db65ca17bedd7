// Keeps the page current and draws its charts. Everything else works without it.
"use strict";

(() => {
  const EVERY = 2000; // milliseconds between two looks
  const SPAN = 900; // seconds that the charts show
  const body = document.body;
  const said = document.getElementById("said");
  const spoken = document.getElementById("spoken");
  const live = document.getElementById("live");
  if (!live) return;

  // Looking again: not while nobody sees the page, nor while its reader has stopped it.

  let paused = false;
  const look = () => body.dispatchEvent(new Event("tick"));
  const due = () => { if (!document.hidden && !paused) { look(); pull(); } };
  setInterval(due, EVERY);
  document.addEventListener("visibilitychange", due);

  const pause = document.getElementById("pause");
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume updates" : "Pause updates";
    due();
  });

  // What became of a retry goes away by itself: the letter's row has it too.

  const SHOWN = 15000; // milliseconds
  let going;
  said.classList.add("near");
  const told = () => {
    clearTimeout(going);
    going = setTimeout(() => { if (!lost) said.replaceChildren(); }, SHOWN);
  };

  // When the service can't be reached the page says so, and from when it is.

  let from = new Date();
  let lost = false;
  const failed = () => {
    if (lost) return;
    lost = true;
    said.classList.add("lost");
    said.replaceChildren(Object.assign(document.createElement("p"), {
      textContent: `The service does not answer. What you see is from ${from.toUTCString().slice(17, 25)} UTC.`,
    }));
  };
  const reached = () => {
    from = new Date();
    if (!lost) return;
    lost = false;
    said.classList.remove("lost");
    said.replaceChildren();
  };
  body.addEventListener("htmx:error", failed);
  body.addEventListener("htmx:response:error", failed);

  // After a retry the page looks again at once. If the letter is gone, so is its button, and the focus with it: then it
  // goes to the button that stands there now, else to the heading.

  let tried = -1;
  const buttons = () => [...live.querySelectorAll(".retry button")];
  body.addEventListener("submit", (event) => {
    if (event.target.matches(".retry")) tried = buttons().indexOf(event.target.querySelector("button"));
  });
  // Whoever has gone on elsewhere since then isn't fetched back.
  for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, () => { tried = -1; }, true);
  const settled = () => {
    const left = buttons();
    if (tried >= 0 && (document.activeElement === body || !document.activeElement)) {
      (left[Math.min(tried, left.length - 1)] || document.getElementById("letters"))?.focus();
      tried = -1;
    }
  };

  // A reader who doesn't see hears of a change of the verdict, not of every figure.

  let heard = document.getElementById("verdict")?.dataset.state;
  const speak = () => {
    const verdict = document.getElementById("verdict");
    if (!verdict || verdict.dataset.state === heard) return;
    heard = verdict.dataset.state;
    spoken.textContent = verdict.querySelector(".word").textContent.trim();
  };

  body.addEventListener("htmx:after:swap", (event) => {
    const source = event.detail.ctx.sourceElement;
    if (source === live) { reached(); speak(); settled(); } else { told(); look(); }
  });

  // Charts. The past comes with the first answer, then what is new.

  const columns = { places: [], at: [], lag: [], staleness: [], rate: [], lags: [], stalenesses: [] };
  const plots = new Map();
  let pulling = false;

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const short = (value, unit) => {
    if (value == null) return "–";
    if (unit === "s") return duration(value, value);
    const text = value >= 10 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
    return `${text} ${unit}`;
  };
  const compact = new Intl.NumberFormat("en", { notation: "compact" });
  // Where an axis of seconds may have its lines: at what is a round figure in some unit.
  const ROUND = [
    ...[1, 2, 5, 10, 20, 30], ...[1, 2, 5, 10, 20, 30].map((one) => one * 60), ...[1, 2, 4, 6, 12].map((one) => one * 3600),
    ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].map((one) => one * 86400),
  ];
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const duration = (seconds, most) => { // all of an axis in one unit
    const [size, unit] = UNITS.find(([one]) => most >= 3 * one) || [1, "s"];
    const value = seconds / size;
    return value ? `${value >= 10 ? compact.format(Math.round(value)) : Number(value.toFixed(1))} ${unit}` : "0";
  };

  function linesOf(name) {
    return name === "rate" ? [columns.rate] : columns[name];
  }

  function pointed(plot, element) {
    const told = element.querySelector(".pointed");
    const { idx } = plot.cursor;
    if (idx == null) { told.textContent = ""; return; }
    const values = plot.data.slice(1).map((line, number) => [line[idx], number]).filter(([value]) => value != null);
    values.sort((one, other) => other[0] - one[0]);
    const time = new Date(plot.data[0][idx] * 1000).toISOString().slice(11, 19);
    const most = values[0];
    const who = most && element.dataset.lines !== "rate" ? `, partition ${columns.places[most[1]].split("/").at(-1)}` : "";
    told.textContent = `${time}  ${most ? short(most[0], element.dataset.unit) + who : "not known"}`;
  }

  function draw(element) {
    const lines = linesOf(element.dataset.lines);
    const font = `12px ${getComputedStyle(body).fontFamily}`;
    const axis = { stroke: color("--soft"), font, grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false } };
    const series = lines.map((_, number) => ({
      stroke: color(`--line-${number % 12}`),
      width: 1.75,
      dash: number >= 12 ? [4, 3] : undefined,
      points: { show: false },
      fill: element.dataset.lines === "rate" ? color("--line-0") + "22" : undefined,
    }));
    const options = {
      width: element.clientWidth,
      height: 160,
      legend: { show: false },
      focus: { alpha: 0.15 },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "console" } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: {
        x: { range: (_, low, high) => [Math.min(low, high - 60), high] },
        y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.08] },
      },
      axes: [
        { ...axis, size: 26, space: 70, values: (_, ticks) => ticks.map((one) => new Date(one * 1000).toISOString().slice(11, one % 60 ? 19 : 16)) },
        { ...axis, size: 50, space: 30, incrs: element.dataset.unit === "s" ? ROUND : undefined, values: (_, ticks) => ticks.map((one) => (element.dataset.unit === "s" ? duration(one, ticks.at(-1)) : compact.format(one))) },
      ],
      series: [{}, ...series],
      hooks: { setCursor: [(plot) => pointed(plot, element)] },
    };
    element.replaceChildren(Object.assign(document.createElement("span"), { className: "pointed" }));
    plots.get(element)?.destroy();
    plots.set(element, new uPlot(options, [columns.at, ...lines], element));
  }

  function show() {
    for (const element of document.querySelectorAll(".plot")) {
      const lines = linesOf(element.dataset.lines);
      const plot = plots.get(element);
      if (!columns.at.length) continue;
      if (!plot || plot.series.length !== lines.length + 1) {
        draw(element);
        sizes.observe(element);
      } else {
        plot.setData([columns.at, ...lines]);
      }
    }
  }

  function take(more) {
    if (more.places.length !== columns.places.length) { // lines of partitions that are new had no past
      for (let number = columns.places.length; number < more.places.length; number += 1) {
        columns.lags.push(columns.at.map(() => null));
        columns.stalenesses.push(columns.at.map(() => null));
      }
      columns.places = more.places;
    }
    const old = columns.at.findIndex((at) => at > (more.at.at(-1) ?? 0) - SPAN);
    const join = (kept, added) => [...(old < 0 ? [] : kept.slice(old)), ...added];
    for (const name of ["at", "lag", "staleness", "rate"]) columns[name] = join(columns[name], more[name]);
    for (const name of ["lags", "stalenesses"]) columns[name] = columns[name].map((line, number) => join(line, more[name][number]));
  }

  async function pull() {
    if (pulling || !document.querySelector(".plot")) return;
    pulling = true;
    try {
      const answer = await fetch(`/console/history?after=${columns.at.at(-1) ?? 0}`, { headers: { "HX-Request": "true" } });
      if (answer.ok) {
        const more = await answer.json();
        if (more.at.length) { take(more); show(); }
      }
    } catch {
      // the page's own look says that nobody answers
    } finally {
      pulling = false;
    }
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) plots.get(target)?.setSize({ width: target.clientWidth, height: 160 });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const element of plots.keys()) draw(element); });

  // A row of the partitions points at its line.
  const point = (row) => {
    const line = row ? Number(row.dataset.line) + 1 : null;
    for (const [element, plot] of plots) if (element.dataset.lines !== "rate") plot.setSeries(line, { focus: true });
  };
  live.addEventListener("pointerover", (event) => point(event.target.closest("tr[data-line]")));
  live.addEventListener("pointerleave", () => point(null));

  pull();
})();
