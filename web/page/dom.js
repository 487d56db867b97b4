// Elements. Every text goes in as a text node: what the server says is never parsed as HTML.

/** Attributes that may hold a text from the server; of `href`, only fragments of this page are let through. */
const SAFE = /^(aria-[a-z]+|class|colspan|data-[a-z-]+|datetime|dir|disabled|for|hidden|href|id|inputmode|lang|max|maxlength|min|name|open|pattern|placeholder|readonly|required|role|rows|scope|selected|spellcheck|step|tabindex|title|type|value|autocomplete|autofocus|method|width|height|checked)$/;

/**
 * Makes an element. `props` are attributes, `on…` listeners, and `css` custom properties; children are nodes, texts,
 * numbers, or arrays of them; null and false are left out.
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (name === "css") {
      for (const [property, set] of Object.entries(value)) element.style.setProperty(property, set);
    } else if (!SAFE.test(name) || (name === "href" && !String(value).startsWith("#/"))) {
      throw new Error(`attribute ${name} is not allowed`);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Puts these children in place of what is in the element. */
export function fill(element, ...children) {
  const fragment = document.createDocumentFragment();
  append(fragment, children);
  element.replaceChildren(fragment);
  return element;
}

/** Sets the text of an element, if it is another: an equal one would disturb a selection. */
export function say(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
  return element;
}

/** A text that somebody else chose: kept apart from the direction of what stands around it, and shown whole on hover. */
export function alien(text, title) {
  return h("bdi", { class: "alien", title: title ?? text }, visible(text));
}

/** Shows what would be invisible, or would turn what follows around. */
export function visible(text) {
  const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
  return String(text).replace(hidden, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A link to a view: `link(["jobs", id], "text")`. */
export function link(path, ...children) {
  return h("a", { href: fragment(path) }, ...children);
}

/** The fragment of a view. */
export function fragment(path) {
  return `#/${path.map((part) => encodeURIComponent(part)).join("/")}`;
}

/** A button. `unless` is a reason why it must not be used now; the reason is said, and it can still be focused. */
export function button(text, onclick, { unless = null, kind = "", label = null, pressed = null } = {}) {
  return h("button", {
    type: "button",
    class: `button ${kind}`,
    "aria-disabled": unless ? "true" : null,
    "aria-label": label && unless ? `${label} (${unless})` : label,
    "aria-pressed": pressed === null ? null : String(pressed),
    title: unless,
    onclick: unless ? (event) => event.preventDefault() : onclick,
  }, text);
}

/** A section with a heading of level two. */
export function section(title, ...children) {
  return h("section", { class: "section" }, h("h2", null, title), ...children);
}

/** Facts: pairs of a name and what it is; those that are null are left out. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

/** A word about a state, with a mark of its own shape, so that colour is not all that tells it. */
export function badge(word) {
  return h("span", { class: `badge is-${STATES[word] ?? "plain"}` }, word);
}

const STATES = {
  ready: "good", running: "good", done: "good", finished: "good",
  pending: "wait", draining: "wait", open: "wait", starting: "wait", stopping: "wait", waiting: "wait", "with a host": "wait",
  away: "bad", failed: "bad", "given-up": "bad", refused: "bad", revoked: "bad", lost: "bad", expired: "bad",
  gone: "off", stopped: "off", ended: "off", used: "off",
};

/** Lines of an explanation, one sentence a line. */
export function explanation(lines) {
  if (!lines?.length) return h("p", { class: "empty" }, "nothing to explain");
  return h("ul", { class: "explain" }, lines.map((line) => h("li", { dir: "auto" }, visible(line))));
}
