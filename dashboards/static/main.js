// The page's heart: asks once a second for as long as it is looked at, and hands on what it hears.
import { ask, keepToken, Refused } from "./ask.js";
import { AlertCards } from "./alerts.js";
import { PanelChart } from "./charts.js";
import { UserList } from "./lists.js";
import { showTiles } from "./tiles.js";
import { currentLanguage, speak, word } from "./words.js";

const EVERY_MS = 1000;
const $ = (id) => document.getElementById(id);
const given = new URLSearchParams(location.search);
const dark = matchMedia("(prefers-color-scheme: dark)");

const remembered = (name) => given.get(name) ?? localStorage.getItem(`springtide-${name}`);
const remember = (name, value) => localStorage.setItem(`springtide-${name}`, value);

const page = { panels: [], charts: {}, alerts: null, window: 300, beat: 0, list: new UserList(), cards: new AlertCards(refreshAlerts) };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  for (const chart of page.panels) chart.restyle();
}

function setLanguage(language) {
  speak(language);
  $("theme").title = word("theme");
  $("theme").setAttribute("aria-label", word("theme"));
  for (const button of $("languages").children) button.setAttribute("aria-pressed", String(button.dataset.language === currentLanguage()));
  for (const button of $("windows").children) button.textContent = word(`w${button.dataset.window}`);
  for (const chart of page.panels) chart.restyle();
  page.list.redraw();
  if (page.alerts) page.cards.redraw(page.alerts);
  showTiles($("tiles"), page.charts, page.alerts);
}

function setWindow(seconds) {
  page.window = seconds;
  for (const button of $("windows").children) button.setAttribute("aria-pressed", String(Number(button.dataset.window) === seconds));
}

function pulse(state) {
  const events = page.charts.events?.lines.some((line) => line.values.slice(-10).some((value) => value > 0));
  const shown = state === "live" && !events ? "waiting" : state;
  $("pulse").dataset.state = shown;
  const said = word(shown); // what is set anew is read aloud anew
  if ($("pulse-text").textContent !== said) $("pulse-text").textContent = said;
}

async function build() {
  const { windows, panels } = await ask("/ops/panels");
  for (const seconds of windows) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.window = seconds;
    button.textContent = word(`w${seconds}`);
    button.addEventListener("click", () => { setWindow(seconds); page.beat = 0; });
    $("windows").append(button);
  }
  setWindow(page.window);
  page.panels = panels.map((panel) => new PanelChart(panel));
  $("charts").replaceChildren(...page.panels.map((chart) => chart.node));
}

async function refreshCharts() {
  await Promise.all(page.panels.map(async (chart) => {
    const wanted = page.window;
    const data = await ask(`/ops/data/${chart.panel.id}`, { window: wanted });
    if (wanted !== page.window) return;
    page.charts[chart.panel.id] = data;
    chart.show(data, page.alerts ?? []);
  }));
}

async function refreshAlerts() {
  page.alerts = await ask("/ops/alerts", page.cards.linked ? { first: page.cards.linked } : {});
  page.cards.show(page.alerts);
}

async function refreshUsers() {
  page.list.take(await ask("/ops/users"));
  await page.list.refresh();
}

/** One round; a part that is away does not keep the others from being shown. */
async function refresh() {
  if (!page.panels.length) await build();
  const slow = page.beat++ % 2 === 0;
  const rounds = [refreshUsers(), ...(slow ? [refreshCharts(), refreshAlerts()] : [])];
  const failed = (await Promise.allSettled(rounds)).filter((round) => round.status === "rejected").map((round) => round.reason);
  showTiles($("tiles"), page.charts, page.alerts);
  const refused = failed.find((reason) => reason instanceof Refused);
  if (refused) throw refused;
  pulse(failed.length ? "away" : "live");
}

async function run() {
  for (;;) {
    const began = performance.now();
    if (!document.hidden) {
      try {
        await refresh();
        $("token").hidden = true;
      } catch (error) {
        $("token").hidden = !(error instanceof Refused);
        pulse("away");
      }
    }
    await new Promise((done) => setTimeout(done, Math.max(100, EVERY_MS - (performance.now() - began))));
  }
}

$("languages").addEventListener("click", (event) => {
  const chosen = event.target.dataset.language;
  if (chosen) { setLanguage(chosen); remember("language", chosen); }
});
$("theme").addEventListener("click", () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  setTheme(next);
  remember("theme", next);
});
$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken($("token-field").value.trim());
});
addEventListener("hashchange", () => { if (page.cards.follow()) refreshAlerts().catch(() => pulse("away")); });
dark.addEventListener("change", () => { if (!remembered("theme")) setTheme(dark.matches ? "dark" : "light"); });

setTheme(remembered("theme") ?? (dark.matches ? "dark" : "light"));
setLanguage(remembered("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
run();
