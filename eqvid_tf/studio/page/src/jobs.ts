// What runs, how far it is, how long it still takes; and what failed, and why.

import { App } from "./app";
import { at, forget } from "./api";
import { $, clock, fill, make, text } from "./dom";
import { Job } from "./types";

const MOST = 2; // that fit into the header, the latest
const dismissed = new Set<string>();

/** The seconds that a job still takes, as far as it says; a training says by its minutes. */
function left(job: Job): number | null {
  if (job.percent === null || job.percent < 2) return null;
  if (job.kind === "train" && job.line === "training")
    return ((100 - job.percent) / 100) * Number(job.about.minutes) * 60;
  return null;
}

function row(app: App, job: Job): HTMLElement {
  const stop = make("button", {
    textContent: job.state === "running" ? "Stop" : "Dismiss",
    className: "stop",
    label: `${job.state === "running" ? "Stop" : "Dismiss"}: ${job.title}`,
  });
  stop.onclick = () => {
    if (job.state !== "running") {
      dismissed.add(job.id);
      app.changed();
    }
    void app.try(() => forget(at`jobs/${job.id}`));
  };
  const bar = make("progress", { max: 100, label: job.title });
  const parts = [make("b", { textContent: job.title }), ...(job.state === "running" ? [bar] : [])];
  return make(
    "div",
    { className: `job ${job.state}`, id: `job-${job.id}` },
    ...parts,
    make("span", { className: "line quiet" }),
    make("time", { className: "quiet" }),
    stop,
  );
}

export function showJobs(app: App): void {
  const shown = app.state.jobs
    .filter(
      job => job.state === "running" || (job.state === "failed" && job.kind !== "inspect" && !dismissed.has(job.id)),
    )
    .slice(0, MOST);
  fill(
    $("jobs"),
    shown.map(job => [job.id, job.state]),
    () => shown.map(job => row(app, job)),
  );
  for (const job of shown) {
    const element = $(`job-${job.id}`),
      bar = element.querySelector("progress"),
      rest = left(job);
    if (bar && job.percent === null) bar.removeAttribute("value");
    else if (bar) bar.value = job.percent!;
    text(element.querySelector(".line")!, job.line);
    element.title = job.line;
    text(
      element.querySelector("time")!,
      rest === null ? clock(job.seconds) : `${clock(job.seconds)}, ${clock(rest)} left`,
    );
  }
}
