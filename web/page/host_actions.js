// What may be done about a host.

import { path, post, refusal } from "./api.js";
import { ask } from "./dialog.js";
import { button, visible } from "./dom.js";
import { briefText, things } from "./format.js";

/** Buttons for a host; `done` is called after each that was done. */
export function hostButtons(host, done) {
  const denied = refusal("admin");
  const name = `${visible(host.name || "(no name)")} (${briefText(host.key, 8)})`;
  const act = (verb, title, loss, danger) => async () => {
    if (await ask({ title: `${title} host ${name}?`, loss, verb: title, danger, act: () => post(path("hosts", host.key, verb)) })) done(verb);
  };
  const pending = host.state === "pending";
  const loss = `Its ${things(host.workers, "worker")} end, and the tasks that it holds are done by other hosts.`;
  return [
    pending ? button("Approve…", act("approve", "Approve",
      ["It runs modules and sees the inputs of tasks that it is given.", `Compare its fingerprint with what its machine prints: ${host.fingerprint}`], false),
    { unless: denied, kind: "primary", label: `Approve… host ${name}` }) : null,
    button("Drain…", act("drain", "Drain", "It takes no more work. What it does already, it ends; nothing is lost.", false), {
      unless: denied ?? (pending ? "it is not approved" : host.state === "draining" ? "it is draining already" : host.state === "gone" ? "it is gone" : null),
      label: `Drain… host ${name}`,
    }),
    button("Remove…", act("remove", "Remove", [loss, "Its key loses its role: to come back it needs a new ticket."], true), {
      unless: denied, label: `Remove… host ${name}`,
    }),
  ];
}
