// Jobs as they move: told by the socket, asked for where there is none. Knows no element.
//
// Whatever a message says, the job itself is asked for: one truth, and it does not matter whether a
// message came twice, late or not at all. So a restart of the relay costs some seconds and no job.

import { Refused, Unreached, get } from "./api.js";
import { tokens } from "./store.js";

const OPEN_MS = 5000, CLOSED_MS = 1500, LONGEST_WAIT_MS = 15000;

export class Progress {
  constructor(reach) {
    this.reach = reach; // told true and false, as the relay can be reached or not
    this.jobs = new Map();
    this.socket = null;
    this.wait = 500;
  }

  // Tell `changed` of the job now and after every change, until it has ended; null: there is no such job.
  follow(id, changed) {
    this.jobs.set(id, changed);
    this.look(id);
    if (!this.socket) this.connect();
    else this.say({ subscribe: id });
    this.timer ??= setTimeout(() => this.round(), CLOSED_MS);
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  async round() {
    await Promise.all([...this.jobs.keys()].map(id => this.look(id)));
    this.timer = this.jobs.size ? setTimeout(() => this.round(), this.open ? OPEN_MS : CLOSED_MS) : null;
  }

  async look(id) {
    const changed = this.jobs.get(id);
    if (!changed) return;
    try {
      const job = await get(`/v1/jobs/${id}`);
      this.reach(true);
      if (job.ended && !this.jobs.delete(id)) return; // another look was faster
      changed(job);
    } catch (wrong) {
      this.failed(id, changed, wrong);
    }
  }

  failed(id, changed, wrong) {
    if (wrong instanceof Refused && wrong.status === 404) {
      this.jobs.delete(id);
      changed(null);
    } else if (wrong instanceof Refused || wrong instanceof Unreached) {
      this.reach(false); // and asked again, next round
    } else {
      throw wrong;
    }
  }

  connect() {
    const address = new URL("/v1/ws", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = this.socket = new WebSocket(address);
    socket.addEventListener("open", () => this.greet());
    socket.addEventListener("message", event => this.heard(JSON.parse(event.data)));
    socket.addEventListener("close", () => this.closed());
  }

  greet() {
    this.wait = 500;
    const held = tokens();
    if (held) this.say({ token: held.access_token }); // before all else, where it is asked for
    for (const id of this.jobs.keys()) this.say({ subscribe: id });
  }

  heard(said) {
    if (said.job_id && said.type !== "problem") this.look(said.job_id);
  }

  closed() {
    this.socket = null;
    if (!this.jobs.size) return;
    setTimeout(() => this.jobs.size && !this.socket && this.connect(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
  }

  say(words) {
    if (this.open) this.socket.send(JSON.stringify(words));
  }
}
