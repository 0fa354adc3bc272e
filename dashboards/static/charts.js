// One chart a panel: uPlot draws, we give it colours, a legend with values, and the keyboard.
import { element } from "./ask.js";
import { clock, measure, pick, word } from "./words.js";

const COLOURS = 8;
const HEIGHT = 118;
const MOST_BRIDGED = 15; // steps without a value that a line runs across
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Short runs of nulls as undefined, which uPlot's lines run across; longer ones stay gaps. */
function bridged(values) {
  const copy = [...values];
  for (let i = 0, run = 0; i < copy.length; i++) {
    if (copy[i] === null) { run++; continue; }
    if (run && run < i && run <= MOST_BRIDGED) copy.fill(undefined, i - run, i);
    run = 0;
  }
  return copy;
}

const newest = (values) => values.findLast((value) => value !== null);

// Latencies span decades: on a linear axis one slow start would flatten all that follows.
const decade = (value, round) => 10 ** round(Math.log10(value));
const powers = (low, high) => Array.from({ length: Math.round(Math.log10(high / low)) + 1 }, (_, i) => low * 10 ** i);
const DECADES = { distr: 3, range: (_, low, high) => (high > 0 ? [decade(Math.max(low, 0.1), Math.floor), decade(high * 1.2, Math.ceil)] : [1, 1000]) };

/** A panel's figure: `show(chart, alerts)` draws new data, `restyle()` takes new colours or words. */
export class PanelChart {
  constructor(panel) {
    this.panel = panel;
    this.title = element("h2");
    this.help = element("p", "help");
    this.legend = element("div", "legend");
    this.plot = element("div", "plot");
    this.empty = element("p", "empty");
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "img");
    this.node = element("figure", "card chart", "", element("figcaption", "", "", this.title, this.help), this.plot, this.empty, this.legend);
    this.node.id = `panel-${panel.id}`;
    this.chart = null;
    this.alerts = [];
    this.plot.addEventListener("keydown", (event) => this.#walk(event));
    this.plot.addEventListener("blur", () => this.uplot?.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => this.uplot?.setSize(this.#size())).observe(this.plot);
    this.restyle();
  }

  restyle() {
    this.title.textContent = pick(this.panel.title);
    this.help.textContent = this.help.title = pick(this.panel.help);
    this.empty.textContent = word("waiting");
    this.uplot?.destroy();
    this.uplot = null;
    if (this.chart) this.show(this.chart, this.alerts);
  }

  show(chart, alerts) {
    const same = this.uplot && this.chart.lines.map((line) => line.key).join() === chart.lines.map((line) => line.key).join();
    this.chart = chart;
    this.alerts = alerts;
    const something = chart.lines.some((line) => line.values.some((value) => value));
    this.node.classList.toggle("is-empty", !something);
    if (!same) this.#build();
    this.uplot.setData(this.#data());
    this.#values(this.uplot.cursor.idx);
    const texts = chart.lines.map((line) => `${this.name(line.key)} ${measure(newest(line.values), this.panel.unit)}`);
    this.plot.setAttribute("aria-label", `${pick(this.panel.title)}: ${texts.join(", ")}; ${word("keys")}`);
  }

  name(key) {
    const known = this.panel.series.find((series) => series.key === key);
    return known ? pick(known.title) : key;
  }

  #size() {
    return { width: Math.max(160, this.plot.clientWidth), height: HEIGHT };
  }

  #data() {
    const { times, lines } = this.chart;
    const columns = lines.map((line) => line.values);
    if (!this.panel.stacked) return [times, ...columns.map(bridged)];
    const sums = times.map(() => 0);
    return [times, ...columns.map((values) => values.map((value, i) => (sums[i] += value ?? 0)))];
  }

  #build() {
    this.uplot?.destroy();
    const { lines } = this.chart;
    const { stacked, unit } = this.panel;
    const soft = { stroke: css("--muted"), ticks: { show: false }, font: `11px ${css("--font")}` };
    const grid = { stroke: css("--line"), width: 1 };
    const series = lines.map((line, i) => {
      const colour = css(`--series-${i % COLOURS}`);
      const first = !stacked && i === 0;
      return { stroke: colour, width: first ? 2 : 1.5, points: { show: false }, fill: stacked ? `${colour}55` : first && lines.length < 3 ? `${colour}1f` : undefined };
    });
    this.uplot = new uPlot({
      ...this.#size(),
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "springtide" }, points: { size: 7 } },
      scales: { y: unit === "milliseconds" ? DECADES : { range: (_, low, high) => [0, high > 0 ? high * 1.12 : 1] } },
      axes: [
        { ...soft, grid: { show: false }, size: 24, gap: 4, space: 36, values: (_, splits) => splits.map((at) => clock(at, this.#step() < 30 && splits[1] - splits[0] < 60)) },
        { ...soft, grid, ...(unit === "milliseconds" && { splits: (_plot, _axis, low, high) => powers(low, high) }), size: 50, gap: 6, space: 34, values: (_, splits) => splits.map((value) => (value === null ? "" : measure(value, unit))) },
      ],
      series: [{}, ...series],
      bands: stacked ? lines.slice(1).map((_, i) => ({ series: [i + 2, i + 1] })) : [],
      hooks: { setCursor: [(plot) => this.#values(plot.cursor.idx)], draw: [(plot) => this.#marks(plot)] },
    }, this.#data(), this.plot);
    this.entries = lines.map((line, i) => {
      const value = element("b");
      const swatch = element("i", `swatch series-${i % COLOURS}`);
      return { line: line.key, value, node: element("span", "entry", "", swatch, element("span", "", this.name(line.key)), value) };
    });
    this.legend.replaceChildren(...this.entries.map((entry) => entry.node));
  }

  #step() {
    return this.chart.times[1] - this.chart.times[0];
  }

  #values(index) {
    this.entries?.forEach((entry, i) => {
      const values = this.chart.lines[i]?.values ?? [];
      entry.value.textContent = measure(index === null || index === undefined ? newest(values) : values[index], this.panel.unit);
    });
  }

  #marks(plot) {
    if (!this.panel.marks_alerts) return;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = css("--alarm");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([5, 4]);
    const places = this.alerts.map((alert) => plot.valToPos(new Date(alert.noticed_at) / 1000, "x", true)).sort((a, b) => a - b);
    let last = -Infinity;
    for (const x of places) {
      if (x < bbox.left || x > bbox.left + bbox.width || x - last < 5) continue;
      last = x;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  #walk(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.uplot) return;
    event.preventDefault();
    const last = this.chart.times.length - 1;
    const next = Math.min(last, Math.max(0, (this.uplot.cursor.idx ?? last) + step));
    this.uplot.setCursor({ left: this.uplot.valToPos(this.chart.times[next], "x"), top: 20 });
  }
}
