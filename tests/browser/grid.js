// A grid of real processes on loopback, in a folder that goes with it.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** How long something may take that has to come, in milliseconds. */
const PATIENCE_MS = 60_000;

const programs = needed("GRID_PROGRAMS");

/** The folder of the example modules. */
export const modules = needed("GRID_MODULES");

function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; \`cargo xtask browser\` sets it`);
  return value;
}

/** A process, and what it has printed. */
class Running {
  constructor(program, args, home) {
    const env = { ...process.env, GRID_HOME: home };
    for (const name of ["GRID_MANAGER", "GRID_HTTP"]) delete env[name];
    this.said = "";
    this.child = spawn(join(programs, program), args, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.child.stdin.on("error", () => {});
    this.stdout = "";
    this.child.stdout.on("data", (data) => {
      this.stdout += data;
      this.said += data;
    });
    this.child.stderr.on("data", (data) => (this.said += data));
    this.ended = new Promise((resolve, reject) => {
      this.child.on("error", reject);
      this.child.on("close", resolve);
    });
    this.ended.catch(() => {});
  }

  /** Waits until it has printed something. */
  async says(part) {
    await until(() => this.said.includes(part), () => `it never said \`${part}\`, but: ${this.said}`);
  }

  /** Ends it. */
  async stop() {
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 15_000);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Waits until something holds. */
export async function until(holds, otherwise = () => "it never held") {
  const began = Date.now();
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() - began > PATIENCE_MS) throw new Error(otherwise());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export class Grid {
  /** Starts a manager with the page on a port that the system chooses. */
  static async start() {
    const grid = new Grid();
    grid.home = await mkdtemp(join(tmpdir(), "grid-browser-"));
    grid.hosts = [];
    await grid.up("127.0.0.1:0", "127.0.0.1:0");
    return grid;
  }

  /** Starts the manager at these addresses. */
  async up(listen, http) {
    this.manager = new Running("grid", ["up", "--listen", listen, "--http", http, "--open-join", "false"], this.home);
    await this.manager.says("grid-host --manager grid1");
  }

  /** The address on which the manager listens for hosts and clients. */
  async address() {
    return (await readFile(join(this.home, "running-manager"), "utf8")).trim().split("@").at(-1);
  }

  /** Starts a host, and waits until it has joined. */
  async host(name, slots = 2) {
    const ticket = await this.ticket("host");
    const args = ["--manager", ticket, "--name", name, "--slots", String(slots), "--state", join(this.home, `host-${this.hosts.length}`)];
    const host = new Running("grid-host", args, this.home);
    this.hosts.push(host);
    await host.says("joined");
    return host;
  }

  /** Starts a host with no ticket, which waits for approval. */
  async stranger(name) {
    const manager = (await readFile(join(this.home, "running-manager"), "utf8")).trim();
    const args = ["--manager", manager, "--name", name, "--slots", "1", "--state", join(this.home, `host-${this.hosts.length}`)];
    const host = new Running("grid-host", args, this.home);
    this.hosts.push(host);
    return host;
  }

  /** Runs `grid` as the manager's own user, or with another home; returns what it printed to its standard output. */
  async run(args, input = "", home = this.home) {
    const command = new Running("grid", args, home);
    command.child.stdin.end(input);
    const code = await command.ended;
    if (code !== 0) throw new Error(`grid ${args.join(" ")} ended with ${code}: ${command.said}`);
    return command.stdout;
  }

  async json(args) {
    return JSON.parse(await this.run([...args, "--json"]));
  }

  /** A link that logs in as the manager's own user, once. */
  async link() {
    return (await this.run(["ui", "--print"])).trim();
  }

  /** Makes a ticket. */
  async ticket(role) {
    return (await this.run(["ticket", "new", "--quiet", "--role", role])).trim();
  }

  /** Leaves a job to the grid, as the manager's own user or another; returns its id. */
  async submit(module, lines, more = [], user = null) {
    const as = user ? ["--manager", await this.ticket("client")] : [];
    const args = ["run", ...as, "--detach", "--quiet", ...more, join(modules, module)];
    const said = await this.run(args, lines.join("\n"), user ? join(this.home, user) : this.home);
    const id = /j[0-9a-f]{32}/.exec(said)?.[0];
    if (!id) throw new Error(`no job's id in: ${said}`);
    return id;
  }

  /** Waits until a job is over; returns it. */
  async over(job) {
    return until(async () => {
      const shown = await this.json(["job", "show", job]);
      return shown.state === "finished" || shown.state === "given-up" || shown.state === "stopped" ? shown : null;
    });
  }

  async stop() {
    await Promise.all(this.hosts.map((host) => host.stop()));
    await this.manager.stop();
    await rm(this.home, { recursive: true, force: true });
  }
}
