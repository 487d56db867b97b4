// Starts the page: who is there, which view, and what holds for all of them.

import { askWho, logIn, logOut, whenLoggedOut, whoIsThere } from "./api.js";
import { closeAll, problemBox } from "./dialog.js";
import { button, fill, h, link, say } from "./dom.js";
import { fullTime, keepTimes, managerNow, things } from "./format.js";
import { NAV, route } from "./router.js";
import { feed } from "./stream.js";

const place = (id) => document.getElementById(id);

/** What ends when the view changes. */
let leaving = new AbortController();

async function start() {
  place("skip").addEventListener("click", (event) => {
    event.preventDefault();
    place("main").focus();
  });
  window.addEventListener("hashchange", () => (location.hash.startsWith("#code=") ? enter() : turn(true)));
  whenLoggedOut(showLogin);
  feed.on("state", null, drawNotice);
  feed.on("overview", null, drawNotice);
  feed.on("events", null, drawNotice);
  feed.on("samples", null, drawNotice);
  setInterval(() => {
    if (!document.hidden) keepTimes();
  }, 1000);
  await enter();
}

/** Uses the code in the address, if there is one, or the session. */
async function enter() {
  const code = /^#code=([0-9a-zA-Z_-]+)$/.exec(location.hash)?.[1];
  if (code) history.replaceState(null, "", `${location.pathname}#/overview`);
  try {
    if (code) await logIn({ code });
    else await askWho();
  } catch (problem) {
    return showLogin(problem);
  }
  if (whoIsThere()) loggedIn();
  else showLogin();
}

function loggedIn() {
  place("bar").hidden = false;
  fill(place("nav"), h("ul", null, NAV.map(([first, title]) => h("li", null, link([first], title)))));
  fill(place("bar-end"), whoAmI(), themeButton(), button("Log out", () => logOut().catch(showLogin)));
  feed.start();
  turn(false);
}

function whoAmI() {
  const { fingerprint, roles } = whoIsThere();
  return h("span", { class: "who", title: `your key is ${fingerprint}` }, roles.join(", ") || "no role");
}

function themeButton() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const toggle = button("Dark", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    toggle.setAttribute("aria-pressed", String(isDark()));
    try {
      localStorage.setItem("grid-theme", root.dataset.theme);
    } catch {
      // It is chosen again the next time.
    }
    window.dispatchEvent(new Event("themechange"));
  }, { pressed: isDark() });
  return toggle;
}

async function showLogin(problem) {
  // Several requests may learn at the same time that the session has ended.
  if (!problem && document.querySelector("form.login")) return;
  leave();
  feed.stop();
  place("bar").hidden = true;
  const { show } = await import("./views/login.js");
  show({ root: place("main"), entered: loggedIn, problem });
  document.title = "Log in – Grid";
}

function leave() {
  leaving.abort();
  leaving = new AbortController();
  closeAll();
}

/** Shows the view that the address names. */
async function turn(byHand) {
  if (!whoIsThere()) return;
  leave();
  const { signal } = leaving;
  const chosen = route(location.hash);
  for (const item of place("nav").querySelectorAll("a")) {
    const here = chosen && item.getAttribute("href") === `#/${chosen.first}`;
    if (here) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
    if (here && innerWidth < 900) item.scrollIntoView({ block: "nearest", inline: "center" });
  }
  const root = h("div", { class: "view" });
  const context = { root, signal, names: chosen?.names ?? [], ...tools(root, signal, byHand) };
  fill(place("main"), root);
  if (!chosen) {
    context.heading("No such view");
    root.append(h("p", null, "There is nothing at this address. ", link(["overview"], "Overview")));
    return;
  }
  try {
    const view = await chosen.load();
    if (!signal.aborted) await view.show(context);
  } catch (error) {
    if (error.name !== "AbortError" && !signal.aborted) context.problem(error);
  }
}

/** What each view gets: its heading, a place for problems, and work that is repeated while it is looked at. */
function tools(root, signal, byHand) {
  const troubles = h("div", { role: "alert" });
  const title = h("h1", { tabindex: "-1" });
  const beside = h("div", { class: "beside" });
  const heading = (text, ...more) => {
    document.title = `${text} – Grid`;
    say(title, text);
    fill(beside, more);
    if (title.isConnected) return;
    root.prepend(h("div", { class: "top" }, h("div", { class: "head" }, title, beside), troubles));
    if (byHand) {
      title.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  };
  const problem = (trouble) => {
    if (trouble?.name === "AbortError" || signal.aborted) return;
    if (trouble && !(trouble.status >= 0)) console.error(trouble);
    fill(troubles, trouble ? problemBox(trouble) : null);
  };
  const repeat = async (ms, work) => {
    let failed = false;
    while (!signal.aborted) {
      const began = performance.now();
      if (!document.hidden) {
        try {
          await work(signal);
          if (failed && !signal.aborted) problem(null);
          failed = false;
        } catch (trouble) {
          failed = true;
          problem(trouble);
        }
      }
      // A long answer, as of ten thousand jobs, is not asked for as often.
      await pause(Math.max(ms, 8 * (performance.now() - began)), signal);
    }
  };
  return { heading, problem, repeat };
}

/** Waits, or until the signal ends it. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

/** The lines above each view: not connected, the store's trouble, and what was missed. */
function drawNotice() {
  const lines = [];
  if (feed.state === "lost") lines.push(["bad", "not connected to the manager; what is shown may be old"]);
  if (feed.state === "asleep") lines.push(["wait", "paused while this tab was hidden"]);
  if (feed.status?.store_trouble) lines.push(["bad", `the manager's store: ${feed.status.store_trouble}`]);
  if (feed.missedEvents > 0) lines.push(["wait", `${things(feed.missedEvents, "event")} missed`]);
  if (feed.missedSamples > 0) lines.push(["wait", `${things(feed.missedSamples, "sampled task")} missed`]);
  const told = JSON.stringify(lines.map(([kind, text]) => [kind, text.replace(/[\d\u202f]+/g, "#")]));
  const notice = place("notice");
  if (notice.dataset.told === told && feed.state !== "lost") return;
  notice.dataset.told = told;
  const seen = () => {
    [feed.missedEvents, feed.missedSamples] = [0, 0];
    drawNotice();
  };
  fill(notice, lines.map(([kind, text]) => h("p", { class: `is-${kind}`, title: fullTime(managerNow()) }, text)),
    feed.missedEvents + feed.missedSamples > 0 ? button("OK", seen, { label: "OK, hide the lines about what was missed" }) : null);
}

start();
