// The page's own words in both languages; panels bring theirs along.
const WORDS = {
  en: {
    skip: "Skip to the charts", window: "Time shown", language: "Language", theme: "Dark or light",
    now: "Now", charts: "Charts", users: "Users served last", actions: "What the user did",
    token: "Access token", enter: "Enter", list: "A user's list", follow: "follow activity",
    find: "any user id", show: "Show", alerts: "Alerts", live: "live", waiting: "waiting for events",
    away: "no answer, trying again", noList: "no list yet", noAlerts: "No alert in the last 30 days.",
    quiet: "Nothing yet: send events, or start springtide demo.", list_new: "new",
    eventsNow: "Events per second", freshNow: "Event to list, p50", hitNow: "Hit rate at 10",
    negativeNow: "Most negative topic", alertsNow: "Alerts firing", p99: "p99 {0}",
    lift: "{0}× popularity ({1})", lastAlert: "last {0}", none: "none", ofComments: "{0} comments/s",
    blend: "from the history", interests: "from the interests", popular: "popular list",
    version: "version {0}", knows: "knows events to {0}", firing: "firing", resolved: "resolved",
    historic: "historic", negatives: "{0} of {1} comments are negative", usually: "usually {0}",
    evidence: "evidence 10^{0}, alarm at 10^{1}", since: "since {0}", ended: "ended {0}",
    where: "where: {0}", about: "about: {0}", comments: "{0} telling comments", noComments: "no comments kept", newAlert: "New alert: {0}",
    click: "opened", purchase: "bought", comment: "commented on", ago: "{0} ago", justNow: "now",
    s: "{0} s", min: "{0} min", h: "{0} h", d: "{0} d", tenant: "All comments", topic: "Topic: {0}", model: "Classifier, {0}",
    acknowledge: "Acknowledge", acknowledged: "acknowledged {0}", acknowledgedBy: "acknowledged {0} by {1}",
    snooze60: "Snooze 1 h", snooze1440: "Snooze 1 day", wake: "End snooze", snoozedUntil: "snoozed until {0}",
    minor: "minor", major: "major", severe: "severe", alsoRose: "rose as well: {0}", more: "and {0} more",
    noSuchAlert: "The alert of the link is older than 30 days, or another tenant's.",
    marksOf: "What to do about {0}", markKept: "{0}: {1}", mayNot: "This token may not", notKept: "Not kept, try again",
    keys: "left and right arrows read the values", w300: "5 min", w3600: "1 h", w86400: "1 day",
  },
  zh: {
    skip: "跳到图表", window: "时间范围", language: "语言", theme: "深色或浅色",
    now: "当前", charts: "图表", users: "最近服务的用户", actions: "该用户的行为",
    token: "访问令牌", enter: "进入", list: "用户的推荐列表", follow: "跟随最新活动",
    find: "任意用户 ID", show: "查看", alerts: "告警", live: "实时", waiting: "等待事件",
    away: "无响应，正在重试", noList: "还没有列表", noAlerts: "最近 30 天没有告警。",
    quiet: "暂无数据：请发送事件，或运行 springtide demo。", list_new: "新",
    eventsNow: "每秒事件", freshNow: "事件到列表 p50", hitNow: "前 10 命中率",
    negativeNow: "负面最多的主题", alertsNow: "正在告警", p99: "p99 {0}",
    lift: "热门榜的 {0} 倍（{1}）", lastAlert: "最近一次 {0}", none: "无", ofComments: "每秒 {0} 条评论",
    blend: "依据历史", interests: "依据兴趣", popular: "热门榜",
    version: "版本 {0}", knows: "已含 {0} 前的事件", firing: "告警中", resolved: "已恢复",
    historic: "历史", negatives: "{1} 条评论中 {0} 条为负面", usually: "平时 {0}",
    evidence: "证据 10^{0}，阈值 10^{1}", since: "始于 {0}", ended: "结束于 {0}",
    where: "范围：{0}", about: "关键词：{0}", comments: "{0} 条代表性评论", noComments: "没有保留评论", newAlert: "新告警：{0}",
    click: "打开", purchase: "购买", comment: "评论", ago: "{0}前", justNow: "刚刚",
    s: "{0} 秒", min: "{0} 分钟", h: "{0} 小时", d: "{0} 天", tenant: "全部评论", topic: "主题：{0}", model: "分类器，{0}",
    acknowledge: "确认", acknowledged: "{0}确认", acknowledgedBy: "{1} 于{0}确认",
    snooze60: "暂停 1 小时", snooze1440: "暂停 1 天", wake: "结束暂停", snoozedUntil: "暂停至 {0}",
    minor: "轻微", major: "重大", severe: "严重", alsoRose: "同时上升：{0}", more: "另有 {0} 条",
    noSuchAlert: "链接中的告警已超过 30 天，或属于其他租户。",
    marksOf: "处理 {0}", markKept: "{0}：{1}", mayNot: "此令牌无权限", notKept: "未保存，请重试",
    keys: "左右方向键读取数值", w300: "5 分钟", w3600: "1 小时", w86400: "1 天",
  },
};

let language = "en";

export const currentLanguage = () => language;

export function word(key, ...values) {
  const text = WORDS[language][key] ?? key;
  return text.replace(/\{(\d)\}/g, (place, i) => values[i] ?? place); // values may hold `{0}` or `$&`
}

/** Words that come in both languages, as panels' titles do. */
export const pick = (both) => both[language];

export function speak(chosen) {
  language = chosen in WORDS ? chosen : "en";
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", word(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) {
    node.placeholder = word(node.dataset.placeholder);
    node.setAttribute("aria-label", word(node.dataset.placeholder));
  }
}

const number = (value, digits) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: 0 }).format(value);

export const percent = (value) => `${number(value * 100, value < 0.1 ? 1 : 0)} %`;

/** A value in its unit, as a person reads it. */
export function measure(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "share") return percent(value);
  if (unit === "milliseconds") return value >= 1000 ? `${number(value / 1000, 1)} s` : `${number(value, value < 10 ? 1 : 0)} ms`;
  return number(value, Math.abs(value) < 10 ? 1 : 0);
}

export function ago(time) {
  const seconds = Math.max(0, (Date.now() - new Date(time)) / 1000);
  if (seconds < 2) return word("justNow");
  const [size, unit] = seconds < 60 ? [1, "s"] : seconds < 3600 ? [60, "min"] : seconds < 86400 ? [3600, "h"] : [86400, "d"];
  return word("ago", word(unit, Math.floor(seconds / size)));
}

/** Day and time; event times may lie years back. */
export const moment = (time) =>
  new Intl.DateTimeFormat(language === "zh" ? "zh-CN" : "en-GB",
    { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(new Date(time));

export const clock = (seconds, fine) =>
  new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: fine ? "2-digit" : undefined }).format(new Date(seconds * 1000));
