// The numbers at the top: the newest values of the same panels.
import { element } from "./ask.js";
import { ago, measure, percent, word } from "./words.js";

const RECENT = 5;
const MOST = 50; // alerts that the page is told of, those that fire first
const present = (values) => values.filter((value) => value !== null);
const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
const newest = (values) => values?.findLast((value) => value !== null) ?? null;
const line = (chart, key) => chart?.lines.find((each) => each.key === key)?.values;
const recent = (values) => mean(present((values ?? []).slice(-RECENT)));

function events(charts) {
  const rates = (charts.events?.lines ?? []).map((each) => recent(each.values) ?? 0);
  const comments = recent(line(charts.events, "comment")) ?? 0;
  const total = rates.reduce((sum, value) => sum + value, 0);
  return { key: "eventsNow", value: measure(total, "per_second"), note: word("ofComments", measure(comments, "per_second")) };
}

function freshness(charts) {
  const [p50, p99] = ["p50", "p99"].map((key) => mean(present(line(charts.freshness, key) ?? []).slice(-RECENT)));
  return { key: "freshNow", value: measure(p50, "milliseconds"), note: word("p99", measure(p99, "milliseconds")) };
}

function hits(charts) {
  const ours = newest(line(charts["hit-rate"], "springtide"));
  const theirs = newest(line(charts["hit-rate"], "popularity"));
  const note = ours && theirs ? word("lift", (ours / theirs).toFixed(1), percent(theirs)) : "";
  return { key: "hitNow", value: measure(ours, "share"), note, good: ours > theirs };
}

function negative(charts) {
  const topics = (charts.sentiment?.lines ?? []).map((each) => [newest(each.values), each.key]);
  const [share, topic] = topics.filter(([value]) => value !== null).sort((a, b) => b[0] - a[0])[0] ?? [null, ""];
  return { key: "negativeNow", value: measure(share, "share"), note: topic };
}

function firing(alerts) {
  if (!alerts) return { key: "alertsNow", value: "–", note: "", to: "#alerts" }; // not known is not none
  const count = alerts.filter((alert) => alert.state === "firing").length;
  const last = alerts.map((alert) => alert.noticed_at).sort().at(-1);
  const note = last ? word("lastAlert", ago(last)) : word("none");
  const value = count && count === alerts.length && count >= MOST ? `${count}+` : String(count);
  return { key: "alertsNow", value, note, alarm: count > 0, to: "#alerts" };
}

export function showTiles(box, charts, alerts) {
  const tiles = [events(charts), freshness(charts), hits(charts), negative(charts), firing(alerts)];
  if (box.children.length !== tiles.length) {
    box.replaceChildren(...tiles.map(({ to }) => {
      const tile = element(to ? "a" : "div", "tile", "", element("span", "tile-name"), element("strong"), element("span", "note"));
      if (to) tile.href = to;
      return tile;
    }));
  }
  tiles.forEach(({ key, value, note, alarm, good }, i) => {
    const tile = box.children[i];
    const [name, number, below] = tile.children;
    [name.textContent, number.textContent, below.textContent] = [word(key), value, note];
    tile.classList.toggle("alarm", Boolean(alarm));
    tile.classList.toggle("good", Boolean(good));
  });
}
