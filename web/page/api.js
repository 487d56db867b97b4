// The HTTP API: requests, problems, and who is asking.

/** Why a request was refused: the server's problem document, or what went wrong before there was one. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `the manager answered ${status}`);
    this.status = status;
    this.help = document.help || null;
    this.code = document.code || null;
  }
}

/** Who is logged in: the answer of `/me`; null if nobody is. */
let me = null;

/** Called when the server says that nobody is logged in. */
let onLoggedOut = () => {};

export function whenLoggedOut(act) {
  onLoggedOut = act;
}

/** Who is logged in. */
export function whoIsThere() {
  return me;
}

/** Asks who is logged in; null if nobody is. */
export async function askWho() {
  try {
    me = await request("GET", "/me");
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    me = null;
  }
  return me;
}

/** Reads something: `get("/jobs", { everyones: true }, signal)`. */
export function get(path, query, signal) {
  const wanted = new URLSearchParams(query ?? {}).toString();
  return request("GET", wanted ? `${path}?${wanted}` : path, undefined, signal);
}

/** Changes something. */
export function post(path, body) {
  return request("POST", path, body ?? {});
}

/** Logs in with a code or a ticket; the answer of `/me` then. */
export async function logIn(what) {
  await request("POST", "/login", what);
  return askWho();
}

/** Ends the session. */
export async function logOut() {
  await post("/logout");
  me = null;
  onLoggedOut();
}

/** Why whoever is there may not do what needs this role; null if they may. */
export function refusal(role) {
  const roles = me?.roles ?? [];
  if (roles.includes(role) || roles.includes("admin")) return null;
  const whose = roles.length ? `your key is ${roles.join(", ")}` : "your key has no role";
  return `this needs the role ${role}; ${whose}`;
}

/** Whether whoever is there may see what everybody does, or only their own. */
export function seesAll() {
  return Boolean(me?.roles.some((role) => role === "admin" || role === "viewer"));
}

/** A path from texts that the server or a person chose. */
export function path(...parts) {
  return `/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

async function request(method, target, body, signal) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET" && me?.csrf) headers["x-grid-csrf"] = me.csrf;
  let response;
  try {
    response = await fetch(`/api/v1${target}`, {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin", cache: "no-store", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const help = "is `grid up` still running on the manager's machine?";
    throw new Problem(0, { detail: "the manager does not answer", help });
  }
  const document = await read(response);
  if (response.ok) return document;
  if (response.status === 401 && target !== "/me" && target !== "/login") {
    me = null;
    onLoggedOut();
  }
  throw new Problem(response.status, document);
}

async function read(response) {
  try {
    return await response.json();
  } catch {
    return { detail: `the manager answered ${response.status} and nothing that can be read` };
  }
}
