// The page: what is opened first, and the keys.

import { App } from "./app";
import { bindCorrect, pickTool, showCorrect } from "./correct";
import { $ } from "./dom";
import { bindExport, openExport, showExports } from "./exports";
import { bindHome, showHome } from "./home";
import { showJobs } from "./jobs";
import { beginPath, bindMotions, showMotions } from "./motions";
import { asFilmed, bindPanels, showPanels } from "./panels";
import { bounded, Stage, wrapped } from "./stage";
import { State } from "./types";

const app = new App();
const stage = new Stage(
  app,
  $<HTMLCanvasElement>("stage"),
  $<HTMLCanvasElement>("handles"),
  $("frame"),
  $("stage-area"),
);
const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const TURN = 2,
  GROWTH = 1.03; // degrees and factor of a key

const keys: Record<string, () => void> = {
  "[": () =>
    app.changeChosen(({ motion }) => {
      motion.rotation = wrapped(motion.rotation - TURN);
    }),
  "]": () =>
    app.changeChosen(({ motion }) => {
      motion.rotation = wrapped(motion.rotation + TURN);
    }),
  "+": () =>
    app.changeChosen(({ motion }) => {
      motion.scale = bounded(motion.scale * GROWTH);
    }),
  "=": () => keys["+"](),
  "-": () =>
    app.changeChosen(({ motion }) => {
      motion.scale = bounded(motion.scale / GROWTH);
    }),
  f: () => app.restack(true),
  b: () => app.restack(false),
  w: () => app.freezeOrWalk(),
  h: () =>
    app.changeChosen(entry => {
      entry.hidden = !entry.hidden;
    }),
  r: () => asFilmed(app),
  o: () => {
    app.onion = !app.onion;
    app.changed();
  },
  p: () => beginPath(app, stage),
  m: () => pickTool(app, "paint"),
  x: () => pickTool(app, "rub"),
  e: () => openExport(app),
  Delete: () => app.remove(),
  Backspace: () => app.remove(),
  Escape: () => {
    if (app.painting) pickTool(app, app.painting.tool);
    else if (stage.path) beginPath(app, stage);
    else app.choose(null);
  },
  "?": () => $<HTMLDialogElement>("keys").showModal(),
};
const timeKeys: Record<string, () => void> = {
  " ": () => app.toggle(),
  ",": () => app.go(app.picture - 1),
  ".": () => app.go(app.picture + 1),
  Home: () => app.go(0),
  End: () => app.go(app.count - 1),
};

function withControl(key: string, shift: boolean): (() => void) | undefined {
  if (key === "z") return shift ? () => app.redo() : () => app.undo();
  return { y: () => app.redo(), d: () => app.duplicate(), s: () => void app.saveNow() }[key];
}

function work(event: KeyboardEvent): (() => void) | undefined {
  const plain = event.key.length === 1 ? event.key.toLowerCase() : event.key,
    arrow = ARROWS[event.key];
  if (event.ctrlKey || event.metaKey) return withControl(plain, event.shiftKey);
  if (arrow && app.entry) {
    const step = event.shiftKey ? 20 : 2,
      [width, height] = app.scene!.size;
    return () =>
      app.changeChosen(({ motion: { translation } }) => {
        translation[0] += (arrow[0] * step) / width;
        translation[1] += (arrow[1] * step) / height;
      });
  }
  if (/^[1-9]$/.test(plain) && app.scene) {
    const entry = app.inOrder().reverse()[Number(plain) - 1];
    return entry && (() => app.choose(entry.id));
  }
  return timeKeys[plain] ?? (app.scene || plain === "?" ? keys[plain] : undefined);
}

document.addEventListener("keydown", event => {
  const on = document.activeElement as HTMLElement,
    writing = on.matches("input:not([type=checkbox]), select, textarea");
  if (app.mode === "home" || event.altKey || writing || document.querySelector("dialog[open]")) return;
  if (on.matches("button, a, input") && (event.key === " " || event.key === "Enter")) return; // they are pressed so
  const found = work(event);
  if (!found) return;
  event.preventDefault();
  found();
});

bindHome(app);
bindPanels(app, stage);
bindMotions(app, stage);
bindExport(app);
bindCorrect(app);
app.onChange(() => {
  showPanels(app);
  showJobs(app);
  showHome(app);
  if (app.scene) {
    showMotions(app);
    showExports(app);
    showCorrect(app);
  }
});
addEventListener("beforeunload", () => void app.saveNow());

async function begin(): Promise<void> {
  app.state = (await (await fetch("state")).json()) as State;
  app.listen();
  const asked = new URLSearchParams(location.hash.slice(1)),
    [run, clip] = [asked.get("run"), asked.get("clip")];
  const runs = app.state.runs.filter(one => one.finished),
    clips = app.state.clips;
  if (run && clip) await app.openScene(run, clip);
  else if (clip) await app.openClip(clip);
  else if (location.hash === "" && runs.length === 1 && clips.some(one => runs[0].clips.includes(one.called))) {
    await app.openScene(runs[0].name, clips.find(one => runs[0].clips.includes(one.called))!.name);
  } else if (location.hash === "" && !runs.length && clips.length === 1) await app.openClip(clips[0].name);
  app.changed();
}
Object.assign(window, { studio: { app, stage } }); // for who measures it
void app.try(begin).then(() => {
  document.body.dataset.ready = "yes";
  app.changed();
});
