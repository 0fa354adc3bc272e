// The list of one user, changing as events arrive: what is new, what rose, what fell.
import { ask, element } from "./ask.js";
import { ago, moment, word } from "./words.js";

const SLOTS = 6;
const STAY_MS = 6000;
const LIT_MS = 10000;
const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class UserList {
  constructor() {
    this.user = null;
    this.slots = [];
    this.known = new Map(); // user → { now, before }: the newest two lists we saw of each
    this.changedAt = 0;
    this.shownKey = "";
    $("find").addEventListener("submit", (event) => {
      event.preventDefault();
      if ($("find-field").value.trim()) this.choose($("find-field").value.trim());
    });
  }

  choose(user, follow = false) {
    $("follow").checked = follow;
    this.user = user;
    this.changedAt = Date.now();
    this.#draw();
    this.refresh();
  }

  /** New lists of the users served last. */
  take(lists) {
    const moved = lists.filter((list) => this.#remember(list)).map((list) => list.user);
    const current = moved.includes(this.user);
    if (current) this.changedAt = Date.now();
    if ($("follow").checked && !current && moved.length && Date.now() - this.changedAt > STAY_MS) this.choose(moved[0], true);
    else if (this.user === null && lists.length) this.choose(lists[0].user, true);
    this.#chips(lists.map((list) => list.user), moved);
    this.#draw();
  }

  /** The chosen user's own list and actions. */
  async refresh() {
    const user = this.user;
    if (user === null) return;
    const path = `/ops/users/${encodeURIComponent(user)}`;
    const [list, actions] = await Promise.all([ask(path), ask(`${path}/actions`)]);
    if (user !== this.user) return;
    if (this.#remember(list)) this.changedAt = Date.now();
    this.#draw();
    $("actions").replaceChildren(...actions.slice(0, 4).map((action) => element("li", `action ${action.type}`, "",
      element("span", "did", word(action.type)), element("span", "what", action.title), element("time", "", ago(action.at)))));
  }

  redraw() {
    this.shownKey = "";
    this.#draw();
  }

  /** True where the list is another than the one we knew. */
  #remember(list) {
    const known = this.known.get(list.user);
    if (known?.now.version === list.version) return false;
    this.known.delete(list.user);
    this.known.set(list.user, { now: list, before: known?.now ?? null, at: Date.now() });
    if (this.known.size > 300) this.known.delete(this.known.keys().next().value);
    return Boolean(known);
  }

  // A chip stays where it is for as long as its user is among the last, so that it can be hit.
  #chips(users, moved) {
    const wanted = users.slice(0, 2 * SLOTS);
    this.slots = this.slots.filter((user) => wanted.includes(user) || user === this.user);
    for (const user of [this.user, ...wanted]) {
      if (user && !this.slots.includes(user) && this.slots.length < SLOTS) this.slots.push(user);
    }
    const box = $("users");
    while (box.children.length > this.slots.length) box.lastChild.remove();
    while (box.children.length < this.slots.length) {
      const chip = element("button", "chip");
      chip.type = "button";
      chip.addEventListener("click", () => this.choose(chip.textContent));
      box.append(chip);
    }
    this.slots.forEach((user, i) => {
      const chip = box.children[i];
      if (chip.textContent !== user) chip.textContent = user;
      chip.setAttribute("aria-pressed", String(user === this.user));
      chip.classList.toggle("moved", moved.includes(user));
    });
  }

  #draw() {
    const known = this.known.get(this.user);
    const lit = known && Date.now() - known.at < LIT_MS;
    const key = `${this.user} ${known?.now.version} ${lit}`;
    if (key === this.shownKey) return;
    this.shownKey = key;
    const list = known?.now;
    $("about").replaceChildren(...(list?.items.length ? [
      element("b", "", this.user), element("span", "pill", word(list.policy)), element("span", "", word("version", list.version)),
      ...(list.watermark ? [element("span", "", word("knows", moment(list.watermark)))] : []),
    ] : [element("b", "", this.user ?? ""), element("span", "", word(this.user === null ? "quiet" : "noList"))]));
    this.#places(list?.items ?? [], lit ? known.before?.items : null);
  }

  #places(items, before) {
    const box = $("places");
    const tops = new Map([...box.children].map((row) => [row.dataset.item, row.getBoundingClientRect().top]));
    const old = before && new Map(before.map((item, place) => [item.id, place]));
    const best = items[0]?.score ?? 0;
    box.replaceChildren(...items.map((item, place) => this.#row(item, place, old, best)));
    if (calm.matches) return;
    for (const row of box.children) { // each row slides from where it was
      const from = tops.get(row.dataset.item);
      const by = from === undefined ? 0 : from - row.getBoundingClientRect().top;
      if (by) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 450, easing: "ease-out" });
      else if (from === undefined && old) row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 450 });
    }
  }

  #row(item, place, old, best) {
    const was = old?.get(item.id);
    const [move, text] = !old || was === place ? ["", ""] : was === undefined ? ["new", word("list_new")] : was > place ? ["up", `▲ ${was - place}`] : ["down", `▼ ${place - was}`];
    const strength = element("i", "strength");
    strength.style.width = `${Math.max(4, 100 * Math.exp(item.score - best))}%`;
    const row = element("li", `place ${move}`, "", element("span", "rank", String(place + 1)),
      element("span", "what", "", element("span", "title", item.title), strength),
      element("span", "topic", item.topics[0] ?? ""), element("span", "move", text));
    row.dataset.item = item.id;
    row.title = `${item.title} (${item.id})`;
    return row;
  }
}
