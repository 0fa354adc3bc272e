// Asking the API: one origin, the token kept for this tab only.
export class Refused extends Error {}

const tenant = new URLSearchParams(location.search).get("tenant");

export const keepToken = (token) => sessionStorage.setItem("springtide-token", token);

/** JSON of a path. Refused: a token is needed; any other Error: try again. */
export async function ask(path, parameters = {}) {
  const url = new URL(path, location.origin);
  if (tenant) url.searchParams.set("tenant", tenant);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const token = sessionStorage.getItem("springtide-token");
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
  if (answer.status === 401 || answer.status === 403) throw new Refused(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** An element with text (never HTML) and children. */
export function element(tag, className = "", text = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}
