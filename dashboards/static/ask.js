// Asking the API: one origin, the token kept for this tab only.
export class Refused extends Error {}

const tenant = new URLSearchParams(location.search).get("tenant");

export const keepToken = (token) => sessionStorage.setItem("springtide-token", token);

function asking(path, parameters) {
  const url = new URL(path, location.origin);
  if (tenant) url.searchParams.set("tenant", tenant);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const token = sessionStorage.getItem("springtide-token");
  return [url, { headers: token ? { authorization: `Bearer ${token}` } : {}, signal: AbortSignal.timeout(10_000) }];
}

async function answered(path, answer) {
  if (answer.status === 401 || answer.status === 403) throw new Refused(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** JSON of a path. Refused: a token is needed; any other Error: try again. */
export async function ask(path, parameters = {}) {
  return answered(path, await fetch(...asking(path, parameters)));
}

/** Post JSON to a path. Refused: this token may not; any other Error: try again. */
export async function tell(path, body) {
  const [url, options] = asking(path, {});
  const headers = { ...options.headers, "content-type": "application/json" };
  return answered(path, await fetch(url, { ...options, method: "POST", headers, body: JSON.stringify(body) }));
}

/** An element with text (never HTML) and children. */
export function element(tag, className = "", text = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}
