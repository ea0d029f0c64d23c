// Correcting a mask: what is missing is painted, what is too much is rubbed out, on one frame; the change is looked at,
// then learned.

import { at, send } from "./api";
import { App } from "./app";
import { $, closable, fill, make, put } from "./dom";
import { Entry, Point } from "./types";

export type Tool = "paint" | "rub";

/** What is painted on a frame of a clip: white is the character, black is not, the rest says nothing. */
export class Painting {
  readonly strokes: CanvasRenderingContext2D;
  tool: Tool = "paint";
  empty = true;
  private last: Point | null = null;

  constructor(
    readonly entry: Entry,
    readonly index: number,
    readonly clip: string,
    size: [number, number],
  ) {
    this.strokes = make("canvas", { width: size[0], height: size[1] }).getContext("2d")!;
    [this.strokes.lineCap, this.strokes.lineJoin] = ["round", "round"];
  }

  begin(point: Point): void {
    this.last = point;
    this.go(point);
  }
  end(): void {
    this.last = null;
  }

  /** Draw on to a point of the clip's frame, in its own pixels. */
  go(point: Point): void {
    if (!this.last) return;
    this.empty = false;
    const width = $<HTMLInputElement>("brush").valueAsNumber;
    [this.strokes.strokeStyle, this.strokes.lineWidth] = [this.tool === "paint" ? "#fff" : "#000", width];
    this.strokes.beginPath();
    this.strokes.moveTo(this.last.x, this.last.y);
    this.strokes.lineTo(point.x, point.y + 0.01); // a dot where the pointer did not move
    this.strokes.stroke();
    this.last = point;
  }

  clear(): void {
    this.strokes.clearRect(0, 0, this.strokes.canvas.width, this.strokes.canvas.height);
    this.empty = true;
  }

  get mask(): string {
    return this.strokes.canvas.toDataURL("image/png").split(",")[1];
  }
}

export function pickTool(app: App, tool: Tool): void {
  if (app.painting?.tool === tool) {
    app.painting = null;
    app.settle(0);
    app.changed();
    return;
  }
  const entry = app.entry,
    facts = app.facts!,
    now = entry && app.stand(entry);
  if (!app.painting) {
    if (!entry || !now) {
      app.say("Choose a character first, in a frame that shows it.");
      return;
    }
    if (entry.clip !== facts.called) {
      app.say(`Open the scene of ${entry.clip} to correct its characters.`);
      return;
    }
    [app.playing, app.final] = [false, null];
    app.painting = new Painting(entry, now.index, facts.name, facts.size);
    put($<HTMLInputElement>("brush"), Math.max(2, Math.round(facts.size[1] / 24)));
  }
  app.painting.tool = tool;
  app.changed();
}

export function bindCorrect(app: App): void {
  $("paint").onclick = () => pickTool(app, "paint");
  $("rub").onclick = () => pickTool(app, "rub");
  $("unpaint").onclick = () => {
    app.painting?.clear();
    app.changed();
  };
  const dialog = closable($<HTMLDialogElement>("change-dialog"));
  $("show-change").onclick = () =>
    void app.try(async () => {
      const asked = { kind: "correct", ...what(app), name: null };
      shown = (await send<{ job: string }>("jobs", asked)).job;
      dialog.showModal();
      app.changed();
    });
  $("learn-change").onclick = () =>
    void app.try(async () => {
      const stem = app.run!.name.replace(/-\d+$/, "");
      let number = 2;
      while (app.state.runs.some(run => run.name === `${stem}-${number}`)) number++;
      await send("jobs", { kind: "correct", ...what(app), name: `${stem}-${number}` });
      dialog.close();
      app.painting = null;
      app.changed();
    });
}

let shown = "";

function what(app: App): Record<string, unknown> {
  const { entry, index, clip, mask } = app.painting!;
  return { run: app.run!.name, clip, character: entry.character, frame: index, mask };
}

export function showCorrect(app: App): void {
  const painting = app.painting;
  for (const tool of ["paint", "rub"] as const) {
    const button = $<HTMLButtonElement>(tool);
    button.disabled = !app.entry && !painting;
    button.setAttribute("aria-pressed", String(painting?.tool === tool));
  }
  $<HTMLButtonElement>("unpaint").disabled = $<HTMLButtonElement>("show-change").disabled = !painting || painting.empty;
  const job = app.state.jobs.find(one => one.id === shown),
    done = job?.state === "done";
  $<HTMLButtonElement>("learn-change").disabled = !done || !painting;
  fill($("change"), [shown, job?.state, job?.line, job?.percent], () => {
    if (!job) return [];
    if (done)
      return [
        make("img", { src: at`jobs/${job.id}/change.png`, alt: "Masks of some frames, before and after" }),
        make("p", { className: "quiet", textContent: job.line.replace(/^.*change\.png: /, "") }),
      ];
    return job.state === "running"
      ? [make("progress", { label: job.title }), ` ${job.line}`]
      : [make("p", { className: "wrong", textContent: job.line })];
  });
}
