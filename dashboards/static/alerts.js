// Alerts with their comments; one that opens stays open, a new one is said aloud.
import { element, Refused, tell } from "./ask.js";
import { ago, moment, percent, word } from "./words.js";

const MOST = 20;
const SNOOZES = [60, 1440]; // minutes
const $ = (id) => document.getElementById(id);

/** What an alert is about, for people. */
export function subject(alert) {
  if (alert.title) return alert.title;
  const [kind, ...name] = alert.key.split(":");
  if (kind === "tenant") return word("tenant");
  if (kind === "topic") return word("topic", name.join(":"));
  if (kind === "model") return word("model", name.join(":").split("/").pop()); // its version is in the tooltip
  return name.join(":") || alert.key;
}

const snoozed = (alert) => alert.snoozed_until && new Date(alert.snoozed_until) > new Date();

export class AlertCards {
  /** @param changed called when an alert was acknowledged or snoozed: ask for them again. */
  constructor(changed) {
    this.changed = changed;
    this.open = new Map(); // fingerprint → whether its comments show
    this.seen = null;
    this.shown = "";
    this.follow();
  }

  /** Take the alert that the address names, if it names one; it comes first from then on. */
  follow() {
    this.wanted = new URLSearchParams(location.hash.slice(1)).get("alert");
    if (this.wanted) [this.linked, this.shown] = [this.wanted, ""];
    return this.wanted;
  }

  show(alerts) {
    const fresh = this.seen ? alerts.filter((alert) => !this.seen.has(alert.fingerprint)) : [];
    this.seen = new Set(alerts.map((alert) => alert.fingerprint));
    if (fresh.length) $("announce").textContent = word("newAlert", fresh.map(subject).join(", "));
    const key = JSON.stringify([alerts, alerts.filter(snoozed).length]);
    if (key === this.shown) {
      for (const time of document.querySelectorAll("#alert-cards time[datetime]")) time.textContent = ago(time.dateTime);
      return;
    }
    this.shown = key;
    const active = document.activeElement;
    const focused = active?.closest?.("#alert-cards [data-alert]")?.dataset.alert;
    const did = active?.dataset?.do;
    const rank = (alert) => 2 * Number(alert.fingerprint === this.linked) + Number(alert.state === "firing");
    const sorted = [...alerts].sort((a, b) => rank(b) - rank(a)); // stable: then newest first
    const cards = sorted.slice(0, MOST).map((alert, i) => this.#card(alert, i === 0));
    if (!cards.length) cards.push(element("p", "quiet", word("noAlerts")));
    if (alerts.length > MOST) cards.push(element("p", "quiet", word("more", alerts.length - MOST)));
    if (this.linked && !this.seen.has(this.linked)) cards.unshift(element("p", "quiet", word("noSuchAlert")));
    $("alert-cards").replaceChildren(...cards);
    if (focused) this.#focus(document.querySelector(`[data-alert="${CSS.escape(focused)}"]`), did);
    this.#lead();
    for (const alert of fresh) document.querySelector(`[data-alert="${CSS.escape(alert.fingerprint)}"]`)?.classList.add("fresh");
  }

  redraw(alerts) {
    this.shown = "";
    this.show(alerts);
  }

  #card(alert, first) {
    const time = element("time", "", ago(alert.noticed_at));
    time.dateTime = alert.noticed_at;
    const head = element("div", "alert-head", "", element("h3", "", subject(alert)), element("span", `severity ${alert.severity}`, word(alert.severity)),
      element("span", `state ${alert.state}`, word(alert.state)), time);
    const when = [word("since", moment(alert.started_at))];
    if (alert.resolved_at) when.push(word("ended", moment(alert.resolved_at)));
    if (alert.historic) when.push(word("historic"));
    const card = element("article", `alert ${alert.state}`, "", head, this.#share(alert),
      element("p", "facts", `${word("evidence", alert.evidence.toFixed(1), alert.threshold.toFixed(1))} · ${when.join(" · ")}`),
      ...this.#causes(alert), ...this.#marks(alert), this.#comments(alert, first));
    card.dataset.alert = alert.fingerprint;
    card.title = alert.key;
    return card;
  }

  /** Where it is and what it is about: the slice that holds it, and the words that tell it. */
  #causes(alert) {
    const lines = [];
    const where = Object.entries(alert.slices[0]?.attributes ?? {}).map(([name, value]) => `${name} ${value}`);
    if (where.length) lines.push(word("where", where.join(", ")));
    if (alert.terms.length) lines.push(word("about", alert.terms.join(", ")));
    if (alert.common.length) lines.push(word("alsoRose", alert.common.map((key) => subject({ key })).join(", ")));
    return lines.map((line) => element("p", "facts", line));
  }

  /** To the alert that the address names, once: open, in view, under the keyboard. */
  #lead() {
    const card = this.wanted && document.querySelector(`[data-alert="${CSS.escape(this.wanted)}"]`);
    if (!card) return;
    this.wanted = null;
    const comments = card.querySelector("details");
    if (comments) comments.open = true;
    card.scrollIntoView({ block: "center" });
    (comments?.querySelector("summary") ?? card.querySelector("button"))?.focus();
  }

  /** The same button again, or what is nearest to it: the keyboard must not lose its place. */
  #focus(card, did) {
    (card?.querySelector(`[data-do="${did}"]`) ?? card?.querySelector("button") ?? card?.querySelector("summary"))?.focus();
  }

  #marks(alert) {
    const said = [];
    if (alert.acknowledged_at) said.push(word(alert.acknowledged_by ? "acknowledgedBy" : "acknowledged", ago(alert.acknowledged_at), alert.acknowledged_by));
    if (snoozed(alert)) said.push(word("snoozedUntil", moment(alert.snoozed_until)));
    const parts = said.length ? [element("p", "facts marked", said.join(" · "))] : [];
    if (alert.state !== "firing") return parts;
    const row = element("div", "marks");
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", word("marksOf", subject(alert)));
    if (!alert.acknowledged_at) row.append(this.#button(alert, "acknowledge", word("acknowledge"), {}));
    if (snoozed(alert)) row.append(this.#button(alert, "snooze", word("wake"), { minutes: 0 }, "wake"));
    else for (const minutes of SNOOZES) row.append(this.#button(alert, "snooze", word(`snooze${minutes}`), { minutes }, `snooze${minutes}`));
    return [...parts, row];
  }

  #button(alert, action, text, body, name = action) {
    const button = element("button", "mark", text);
    button.type = "button";
    button.dataset.do = name;
    button.addEventListener("click", async () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true"); // not `disabled`: that would drop the focus
      try {
        await tell(`/v1/alerts/${encodeURIComponent(alert.fingerprint)}/${action}`, body);
        $("announce").textContent = word("markKept", text, subject(alert));
        await this.changed().catch(() => {}); // it is kept; the next round shows it
      } catch (error) {
        $("announce").textContent = button.textContent = word(error instanceof Refused ? "mayNot" : "notKept");
      } finally {
        button.removeAttribute("aria-disabled");
      }
    });
    return button;
  }

  #share(alert) {
    const bar = element("div", "share", "", element("i", "share-now"), element("i", "share-usual"));
    bar.children[0].style.width = `${100 * alert.share}%`;
    bar.children[1].style.left = `${100 * alert.baseline}%`;
    const line = element("p", "share-text", "", element("b", "", percent(alert.share)),
      element("span", "", word("negatives", alert.negatives, alert.comments)), element("span", "usual", word("usually", percent(alert.baseline))));
    return element("div", "", "", line, bar);
  }

  #comments(alert, first) {
    if (!alert.examples.length) return element("p", "facts", word("noComments"));
    const box = element("details", "comments", "", element("summary", "", word("comments", alert.examples.length)),
      ...alert.examples.map((each) => element("blockquote", "", "", element("span", "", each.text), element("b", "", percent(each.negative)))));
    box.open = this.open.get(alert.fingerprint) ?? first;
    box.addEventListener("toggle", () => this.open.set(alert.fingerprint, box.open));
    return box;
  }
}
