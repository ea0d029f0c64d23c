// The catalog of motions as small animations; a path that is drawn; a motion taken from two frames.

import { at, get, send } from "./api";
import { App } from "./app";
import { $, closable, fill, make } from "./dom";
import { posed } from "./geometry";
import { Stage } from "./stage";
import { Affine, ClipFacts, Motion } from "./types";

const TILE = 96; // pixels of a tile's canvas
const tiles: { canvas: HTMLCanvasElement; motion: Motion; unit: number }[] = [];

export function bindMotions(app: App, stage: Stage): void {
  $("draw-path").onclick = () => beginPath(app, stage);
  stage.onPath = points => endPath(app, stage, points);
  bindTransfer(app);
  const handles = $("handles");
  handles.addEventListener("dragover", event => {
    if (!event.dataTransfer?.types.includes("text/x-motion")) return;
    event.preventDefault();
    const under = stage.under(stage.point(event))?.id ?? null;
    if (under !== app.hovered) {
      app.hovered = under;
      app.changed();
    }
  });
  handles.addEventListener("drop", event => {
    const name = event.dataTransfer?.getData("text/x-motion"),
      under = stage.under(stage.point(event));
    if (!name) return;
    event.preventDefault();
    if (under) app.giveMotion(under.id, name);
    else app.say("There is no character there. Drop the motion on one.");
  });
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  requestAnimationFrame(function tick(now) {
    if (app.mode === "scene" && !stage.dragging)
      for (const tile of tiles) drawTile(tile, still.matches ? 0 : now / 1000);
    requestAnimationFrame(tick);
  });
}

export function showMotions(app: App): void {
  const now = app.entry?.template ?? null,
    chosen = Boolean(app.entry);
  fill($("motions"), [app.motions.map(one => [one.name, one.seconds]), now, chosen], () => {
    tiles.length = 0;
    const none = make(
      "button",
      { title: "Its own motion, as filmed", disabled: !chosen },
      make("div", { className: "none", textContent: "–" }),
      make("span", { textContent: "as filmed" }),
    );
    none.setAttribute("aria-pressed", String(chosen && now === null));
    none.onclick = () => app.giveMotion(app.chosen!, null);
    return [make("li", {}, none), ...app.motions.map(motion => tile(app, motion, now))];
  });
}

function tile(app: App, motion: Motion, now: string | null): HTMLElement {
  const canvas = make("canvas", { width: TILE, height: TILE });
  tiles.push({ canvas, motion, unit: unitOf(motion.poses) });
  const title = `${motion.name}, ${motion.seconds.toFixed(1)} s: ${motion.about}. Click, or drag it on a character`;
  const button = make("button", { title, draggable: true }, canvas, make("span", { textContent: motion.name }));
  button.setAttribute("aria-pressed", String(motion.name === now));
  button.onclick = () => {
    if (app.chosen) app.giveMotion(app.chosen, motion.name);
    else app.say("Choose a character first, or drag the motion on one.");
  };
  button.ondragstart = event => event.dataTransfer!.setData("text/x-motion", motion.name);
  return make("li", {}, button);
}

/** Pixels of a tile for half a frame's height, so that the whole path fits. */
function unitOf(poses: Affine[]): number {
  const reach = Math.max(0.6, ...poses.flatMap(pose => [Math.abs(pose[0][2]) + 0.5, Math.abs(pose[1][2]) + 0.5]));
  return (TILE / 2 - 4) / reach;
}

function drawTile({ canvas, motion, unit }: (typeof tiles)[number], time: number): void {
  const context = canvas.getContext("2d")!,
    style = getComputedStyle(canvas);
  const at = Math.floor((time % (motion.seconds + 0.4)) * motion.fps);
  context.resetTransform();
  context.clearRect(0, 0, TILE, TILE);
  context.translate(TILE / 2, TILE / 2);
  context.strokeStyle = context.fillStyle = style.color;
  context.globalAlpha = 0.35;
  context.beginPath();
  for (const pose of motion.poses) context.lineTo(pose[0][2] * unit, pose[1][2] * unit);
  context.stroke();
  context.globalAlpha = 1;
  const { a, b, c, d, e, f } = posed(motion.poses[Math.min(at, motion.poses.length - 1)], unit);
  context.transform(a, b, c, d, e, f);
  context.scale(unit, unit);
  context.fillRect(-0.2, -0.3, 0.4, 0.6); // a body
  context.fillRect(0.2, -0.16, 0.14, 0.14); // that looks to the right
}

// ---- a path that is drawn

export function beginPath(app: App, stage: Stage): void {
  if (!app.scene) return;
  stage.path = stage.path ? null : [];
  $("draw-path").setAttribute("aria-pressed", String(Boolean(stage.path)));
  app.playing = false;
  app.changed();
}

function endPath(app: App, stage: Stage, points: [number, number, number][]): void {
  stage.path = null;
  $("draw-path").setAttribute("aria-pressed", "false");
  const dialog = closable($<HTMLDialogElement>("path-dialog")),
    name = $<HTMLInputElement>("path-name"),
    wrong = dialog.querySelector<HTMLElement>(".wrong")!;
  name.value = free(app, "path");
  wrong.textContent = "";
  dialog.showModal();
  $("path-save").onclick = async () => {
    try {
      const size = [app.view.x, app.view.y];
      app.motions = await send<Motion[]>("motions", { name: name.value.trim(), points, size });
      dialog.close();
      if (app.chosen) app.giveMotion(app.chosen, name.value.trim());
      app.changed();
    } catch (error) {
      wrong.textContent = (error as Error).message;
    }
  };
}

function free(app: App, stem: string): string {
  let number = 1;
  while (app.motions.some(one => one.name === `${stem}-${number}`)) number++;
  return `${stem}-${number}`;
}

// ---- a motion taken from two frames of a clip

function bindTransfer(app: App): void {
  const dialog = closable($<HTMLDialogElement>("transfer")),
    wrong = dialog.querySelector<HTMLElement>(".wrong")!;
  const clip = $<HTMLSelectElement>("transfer-clip"),
    who = $<HTMLSelectElement>("transfer-who"),
    name = $<HTMLInputElement>("transfer-name");
  const [first, last] = [$<HTMLInputElement>("transfer-first"), $<HTMLInputElement>("transfer-last")];
  const show = () => {
    ($("transfer-a") as HTMLImageElement).src = at`clips/${clip.value}/frames/${first.value || 0}`;
    ($("transfer-b") as HTMLImageElement).src = at`clips/${clip.value}/frames/${last.value || 0}`;
  };
  const choose = async () => {
    const facts = await get<ClipFacts>(at`clips/${clip.value}`);
    first.max = last.max = String(facts.count - 1);
    if (last.valueAsNumber >= facts.count) last.value = first.max;
    const cast = app.run!.cast.filter(one => one.active && one.clip === facts.called);
    who.replaceChildren(
      ...(cast.length ? cast.map(one => new Option(one.name, String(one.number))) : [new Option("0", "0")]),
    );
    show();
  };
  $("from-frames").onclick = () => {
    const clips = app.state.clips.filter(one => app.run!.clips.includes(one.called));
    clip.replaceChildren(...clips.map(one => new Option(one.called, one.name)));
    clip.value = (clips.find(one => one.name !== app.facts!.name) ?? clips[0]).name;
    name.value = free(app, "taken");
    wrong.textContent = "";
    void app.try(choose);
    dialog.showModal();
  };
  clip.onchange = () => void app.try(choose);
  first.onchange = last.onchange = show;
  const button = $<HTMLButtonElement>("transfer-take");
  button.onclick = async () => {
    [button.disabled, wrong.textContent] = [true, ""];
    try {
      const frames = [first.valueAsNumber, last.valueAsNumber];
      app.motions = await send<Motion[]>("motions", {
        name: name.value.trim(),
        run: app.run!.name,
        clip: clip.value,
        character: Number(who.value),
        frames,
      });
      dialog.close();
      if (app.chosen) app.giveMotion(app.chosen, name.value.trim());
      app.changed();
    } catch (error) {
      wrong.textContent = (error as Error).message;
    }
    button.disabled = false;
  };
}
