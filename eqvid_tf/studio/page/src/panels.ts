// What is listed beside the stage and below it, and the buttons there.

import { at, send } from "./api";
import { App } from "./app";
import { $, closable, fill, make, put, text } from "./dom";
import { take } from "./home";
import { bounded, Stage, wrapped } from "./stage";
import { Background, Entry } from "./types";

const OFF = [
  "walk",
  "front",
  "back",
  "twice",
  "remove",
  "reset",
  "dx",
  "dy",
  "turn",
  "size",
  "cast-name",
  "cast-join",
  "cast-split",
  "cast-drop",
];

export function bindPanels(app: App, stage: Stage): void {
  const on = (id: string, work: () => void) => {
    $(id).onclick = work;
  };
  on("undo", () => app.undo());
  on("redo", () => app.redo());
  on("walk", () => app.freezeOrWalk());
  on("front", () => app.restack(true));
  on("back", () => app.restack(false));
  on("twice", () => app.duplicate());
  on("remove", () => app.remove());
  on("reset", () => asFilmed(app));
  on("play", () => app.toggle());
  on("onion", () => {
    app.onion = !app.onion;
    app.changed();
  });
  on("help", () => $<HTMLDialogElement>("keys").showModal());
  $("scrub").oninput = () => app.go($<HTMLInputElement>("scrub").valueAsNumber);
  $("length").onchange = () => app.setLength($<HTMLInputElement>("length").valueAsNumber);
  for (const id of ["dx", "dy", "turn", "size"]) {
    const field = $<HTMLInputElement>(id);
    field.oninput = () => {
      if (Number.isFinite(field.valueAsNumber))
        app.changeChosen(entry => place(app, entry, id, field.valueAsNumber), false);
    };
    field.onchange = () => {
      app.commit();
      app.changed();
    };
  }
  const own = $<HTMLInputElement>("own-picture");
  own.onchange = () => {
    if (own.files?.[0]) void take(app, own.files[0]);
    own.value = "";
  };
  bindCast(app);
  app.onMove(() => {
    showPlace(app);
    showBadge(app);
  });
  requestAnimationFrame(function tick(now) {
    tickOnce(app, stage, now);
    requestAnimationFrame(tick);
  });
}

let since: { time: number; picture: number } | null = null;

function tickOnce(app: App, stage: Stage, now: number): void {
  if (!app.playing || stage.dragging) {
    since = null;
    return;
  }
  since ??= { time: now, picture: app.picture };
  const picture = (since.picture + Math.floor(((now - since.time) / 1000) * app.rate)) % app.count;
  if (picture === app.picture) return;
  app.picture = picture;
  app.changed();
}

export function asFilmed(app: App): void {
  app.changeChosen(entry => {
    entry.motion = { translation: [0, 0], rotation: 0, scale: 1 };
  });
}

function place(app: App, { motion }: Entry, id: string, value: number): void {
  const [width, height] = app.scene!.size;
  if (id === "dx") motion.translation[0] = (2 * value) / width;
  if (id === "dy") motion.translation[1] = (2 * value) / height;
  if (id === "turn") motion.rotation = wrapped(value);
  if (id === "size") motion.scale = bounded(value / 100);
}

export function showPanels(app: App): void {
  document.body.dataset.mode = app.mode;
  const { run, facts } = app, // none while another is being opened
    name = app.mode === "scene" && run && facts ? `${run.name} · ${facts.called}` : (facts?.name ?? "");
  text($("what"), name);
  document.title = name ? `${name} – eqvid studio` : "eqvid studio";
  text($("saved"), app.saved);
  showTrouble(app);
  if (app.mode === "home") return;
  const scrub = $<HTMLInputElement>("scrub");
  [scrub.max, scrub.value] = [String(app.count - 1), String(app.picture)];
  scrub.setAttribute("aria-valuetext", `${app.picture + 1} of ${app.count}`);
  text($("count"), `${app.picture + 1} / ${app.count}`);
  text($("play"), app.playing ? "Pause" : "Play");
  showBadge(app);
  if (app.scene) showScene(app);
}

function showTrouble(app: App): void {
  fill($("trouble"), [app.trouble, app.conflict], () => {
    const dismiss = make("button", { textContent: "Dismiss" });
    dismiss.onclick = () => {
      app.trouble = "";
      app.changed();
    };
    if (!app.conflict) return app.trouble ? [app.trouble, dismiss] : [];
    const [theirs, mine] = ["Take that one", "Keep this one"].map(words => make("button", { textContent: words }));
    theirs.onclick = () => void app.try(() => app.resolve(true));
    mine.onclick = () => void app.try(() => app.resolve(false));
    return ["This scene was changed in another tab. ", theirs, mine];
  });
}

function showBadge(app: App): void {
  const apart = app.mode === "scene" && !app.scene;
  if (app.painting)
    return text($("badge"), `frame ${app.painting.index} as filmed · white is the character, black is not`);
  text(
    $("badge"),
    apart
      ? "taking the clip apart …"
      : app.final
        ? `as rendered · ${app.final.ms} ms`
        : app.mode === "scene" && !app.playing
          ? "preview"
          : "",
  );
}

function showScene(app: App): void {
  const scene = app.scene!,
    entry = app.entry;
  $<HTMLButtonElement>("undo").disabled = !app.history!.canUndo;
  $<HTMLButtonElement>("redo").disabled = !app.history!.canRedo;
  $("onion").setAttribute("aria-pressed", String(app.onion));
  put($<HTMLInputElement>("length"), scene.frames);
  for (const id of OFF) $<HTMLButtonElement>(id).disabled = !entry;
  text($("walk"), entry && !entry.play ? "Walk" : "Freeze");
  showCharacters(app);
  showTracks(app);
  showBackgrounds(app);
  showPlace(app);
  const field = $<HTMLInputElement>("cast-name");
  if (entry && document.activeElement !== field && field.dataset.of !== `${entry.id} ${app.name(entry)}`) {
    [field.value, field.dataset.of] = [app.name(entry).replace(/ \(\d+\)$/, ""), `${entry.id} ${app.name(entry)}`];
  }
}

function showPlace(app: App): void {
  if (!app.entry) return;
  const { translation, rotation, scale } = app.entry.motion;
  const [width, height] = app.scene!.size;
  put($<HTMLInputElement>("dx"), Math.round((translation[0] * width) / 2));
  put($<HTMLInputElement>("dy"), Math.round((translation[1] * height) / 2));
  put($<HTMLInputElement>("turn"), Math.round(rotation));
  put($<HTMLInputElement>("size"), Math.round(100 * scale));
}

/** The picture of a character of the model, or of its first frame that is there. */
function portrait(app: App, entry: Entry): HTMLElement {
  const canvas = make("canvas", { width: 56, height: 56 });
  const frames = app.layers.get(entry.clip)?.frames.values() ?? [];
  for (const frame of frames) {
    const cut = frame.characters[String(entry.character)];
    if (!cut?.image) continue;
    const grown = Math.min(52 / cut.w, 52 / cut.h);
    canvas
      .getContext("2d")!
      .drawImage(cut.image, 28 - (cut.w * grown) / 2, 28 - (cut.h * grown) / 2, cut.w * grown, cut.h * grown);
    break;
  }
  canvas.className = "portrait";
  return canvas;
}

function showCharacters(app: App): void {
  const entries = app.inOrder().reverse(),
    loaded = [...app.layers.values()].map(one => Math.min(one.frames.size, 1));
  const key = entries.map(one => [one.id, app.name(one), one.hidden, one.play, one.template, one.id === app.chosen]);
  fill($("characters"), [key, loaded], () =>
    entries.map(entry => {
      const button = make(
        "button",
        {},
        portrait(app, entry),
        make("span", { textContent: app.name(entry) }),
        make("span", {
          className: "quiet",
          textContent: entry.template ?? (entry.play ? "" : `frozen at ${entry.frame}`),
        }),
      );
      button.setAttribute("aria-pressed", String(entry.id === app.chosen));
      button.onclick = () => app.choose(entry.id);
      const box = make("input", { type: "checkbox", checked: !entry.hidden, label: `Show ${app.name(entry)}` });
      box.onchange = () =>
        app.change(() => {
          entry.hidden = !box.checked;
        });
      const row = make(
        "li",
        { className: entry.id === app.chosen ? "chosen" : "" },
        button,
        make("label", {}, box, "shown"),
      );
      return row;
    }),
  );
  const gone = app.gone();
  fill($("gone"), gone, () =>
    gone.map(one => {
      const back = make("button", { textContent: `Bring back ${one.name}` });
      back.onclick = () => app.bringBack(one.number);
      return back;
    }),
  );
}

function showTracks(app: App): void {
  const entries = app.inOrder().reverse();
  fill(
    $("tracks"),
    [
      entries.map(one => [one.id, app.name(one), one.play, one.template, one.id === app.chosen, one.hidden]),
      app.count,
      [...app.layers.keys()],
    ],
    () =>
      entries.map(entry => {
        const listed = app.layers.get(entry.clip)?.info.characters.find(one => one.number === entry.character);
        const own = entry.play && !entry.template && app.count === app.layers.get(entry.clip)?.info.count;
        const [first, last] =
          own && listed && listed.first !== null ? [listed.first, listed.last! + 1] : [0, app.count];
        const bar = make("i");
        Object.assign(bar.style, {
          left: `${(100 * first) / app.count}%`,
          width: `${(100 * (last - first)) / app.count}%`,
          opacity: entry.hidden ? "0.3" : "1",
        });
        const line = make("div", { className: "line" }, bar, make("s"));
        line.onclick = event =>
          app.go(Math.min(app.count - 1, Math.floor((event.offsetX / line.clientWidth) * app.count)));
        bar.style.pointerEvents = "none";
        const name = make("button", { textContent: app.name(entry), title: app.name(entry) });
        name.onclick = () => app.choose(entry.id);
        return make("li", { className: entry.id === app.chosen ? "chosen" : "" }, name, line);
      }),
  );
  for (const head of document.querySelectorAll<HTMLElement>("#tracks s"))
    head.style.left = `${(100 * (app.picture + 0.5)) / app.count}%`;
}

function showBackgrounds(app: App): void {
  const now = JSON.stringify(app.scene!.background),
    run = app.run!;
  const clips = app.state.clips.filter(clip => run.clips.includes(clip.called));
  const all: { name: string; value: Background; source: string }[] = [
    ...clips.map(clip => ({
      name: clip.called,
      value: { clip: clip.called },
      source: at`runs/${run.name}/backgrounds/${clip.called}`,
    })),
    ...app.state.pictures.map(one => ({
      name: one.name,
      value: { picture: one.path },
      source: at`pictures/${one.name}`,
    })),
    { name: "None", value: null, source: "" },
  ];
  fill($("backgrounds"), [all, now, app.layers.size > 0], () =>
    all.map(one => {
      const shown = one.source ? make("img", { src: one.source, alt: "" }) : make("div", { className: "none" });
      const button = make(
        "button",
        { title: one.value ? one.name : "No background: transparent" },
        shown,
        make("span", { textContent: one.name }),
      );
      button.setAttribute("aria-pressed", String(JSON.stringify(one.value) === now));
      button.onclick = () => void app.try(() => app.setBackground(one.value));
      return make("li", {}, button);
    }),
  );
}

// ---- the names of the model's characters

function bindCast(app: App): void {
  const who = () => `${app.entry!.clip}:${app.entry!.character}`;
  const edit = (kind: string, value: string) =>
    void app.try(() => send("jobs", { kind: "cast", run: app.run!.name, edits: [[kind, value]] }));
  $("cast").onsubmit = event => {
    event.preventDefault();
    if (app.entry) edit("rename", `${who()}=${$<HTMLInputElement>("cast-name").value.trim()}`);
  };
  $("cast-split").onclick = () => edit("split", who());
  $("cast-drop").onclick = () => edit("drop", who());
  const dialog = closable($<HTMLDialogElement>("join-dialog")),
    others = $<HTMLSelectElement>("join-with");
  $("cast-join").onclick = () => {
    const rest = app.run!.cast.filter(one => one.active && `${one.clip}:${one.number}` !== who());
    others.replaceChildren(...rest.map(one => new Option(one.name, `${one.clip}:${one.number}`)));
    dialog.showModal();
  };
  $("join-do").onclick = () => {
    if (others.value) edit("merge", `${who()},${others.value}`);
    dialog.close();
  };
}
