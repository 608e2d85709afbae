/** Jobs of this page: a few are sent at a time, since a browser opens few connections to a host. */

const SENT = 3;

/** Event: `change`, when a job is added or ends. */
export class JobList extends EventTarget {
  /** @type {import("./job.js").Job[]} */
  #jobs = [];

  /** Whether there are jobs that have not ended. */
  get busy() {
    return this.#jobs.length > 0;
  }

  /** @param {import("./job.js").Job} job */
  add(job) {
    this.#jobs.push(job);
    job.addEventListener("update", () => job.ended && this.#ended(job));
    this.dispatchEvent(new Event("change"));
    this.#next();
  }

  cancelAll() {
    for (const job of [...this.#jobs]) job.cancel();
  }

  #next() {
    const running = this.#jobs.filter(({ state }) => state === "running").length;
    for (const job of this.#jobs.filter(({ state }) => state === "waiting").slice(0, SENT - running)) job.run();
  }

  /** @param {import("./job.js").Job} job */
  #ended(job) {
    if (!this.#jobs.includes(job)) return;
    this.#jobs = this.#jobs.filter((other) => other !== job);
    this.dispatchEvent(new Event("change"));
    this.#next();
  }
}
