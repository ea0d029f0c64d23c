// What leaves the studio: films and pictures of the scene, files for other programs; each with a preview and its size.

import { at, picture, send } from "./api";
import { App } from "./app";
import { $, bytes, closable, fill, make, text } from "./dom";
import { Job } from "./types";

const KINDS: [string, string, (app: App) => boolean][] = [
  ["mp4", "Film, .mp4", app => app.scene!.background !== null],
  ["webm", "Film, .webm", () => true],
  ["mov", "Film for an editor, .mov", () => true],
  ["gif", "Animated picture, .gif", app => app.scene!.background !== null],
  ["webp", "Animated picture, .webp", () => true],
  ["png", "This picture, .png", () => true],
  ["sheet", "Sprite sheet of the selected character", app => Boolean(app.entry)],
  ["lottie", "Lottie of the selected character and its motion", app => Boolean(app.entry?.template)],
  ["page", "The clip as a page to play with, .html", () => true],
];
const VIDEO = /\.(mp4|webm|mov)$/,
  IMAGE = /\.(gif|webp|apng|png)$/;

export function bindExport(app: App): void {
  const dialog = closable($<HTMLDialogElement>("export-dialog")),
    what = $<HTMLSelectElement>("export-what");
  const button = $<HTMLButtonElement>("export-do"),
    wrong = dialog.querySelector<HTMLElement>(".wrong")!;
  $("export").onclick = () => openExport(app);
  dialog.onclose = () => {
    app.exporting = false;
    app.settle(0);
  };
  what.onchange = () => say(app);
  button.onclick = async () => {
    wrong.textContent = "";
    button.disabled = true;
    try {
      await begin(app, what.value);
    } catch (error) {
      wrong.textContent = (error as Error).message;
    }
    button.disabled = false;
  };
}

export function openExport(app: App): void {
  if (!app.scene) return;
  const what = $<HTMLSelectElement>("export-what"),
    before = what.value;
  const kinds = KINDS.filter(([, , fits]) => fits(app));
  what.replaceChildren(
    ...kinds.map(
      ([kind, words]) =>
        new Option(
          words +
            (app.scene!.background === null && ["webm", "mov", "webp", "png"].includes(kind) ? ", transparent" : ""),
          kind,
        ),
    ),
  );
  what.value = kinds.some(([kind]) => kind === before) ? before : kinds[0][0];
  const name = $<HTMLInputElement>("export-name");
  if (!name.value) name.value = `${app.run!.name}-${app.facts!.called}`.replace(/[^\w-]+/g, "-");
  say(app);
  showExports(app);
  [app.playing, app.exporting] = [false, true];
  app.settle(0);
  app.changed();
  $<HTMLDialogElement>("export-dialog").showModal();
}

function say(app: App): void {
  const scene = app.scene!,
    [width, height] = scene.size,
    kind = $<HTMLSelectElement>("export-what").value;
  const seconds = (scene.frames / scene.rate).toFixed(1);
  const film = `${scene.frames} frames at ${+scene.rate.toFixed(2)}/s, ${seconds} s, ${width} × ${height}`;
  const words: Record<string, string> = {
    png: `${width} × ${height}`,
    sheet: "All frames of the character as filmed, with a .json",
    lottie: "Its picture and its motion, for an app",
    page: "One file that needs no network",
  };
  text($("export-says"), words[kind] ?? film);
}

async function begin(app: App, kind: string): Promise<void> {
  const run = app.run!.name,
    clip = app.facts!.name,
    scene = app.scene!,
    entry = app.entry;
  const name = $<HTMLInputElement>("export-name").value.trim();
  if (kind === "png") return download(app, `${name}-${String(app.picture).padStart(5, "0")}.png`);
  const own = entry && app.state.clips.find(one => one.called === entry.clip)?.name;
  if (kind === "sheet") await send("jobs", { kind, run, clip: own, character: entry!.character });
  else if (kind === "lottie") await send("jobs", { kind, run, clip: own, entry });
  else if (kind === "page") await send("jobs", { kind, run, clip });
  else await send("jobs", { kind: "film", film: kind, run, scene, name });
}

async function download(app: App, name: string): Promise<void> {
  const still = await picture(
    "draw",
    { run: app.run!.name, scene: app.scene, index: app.picture },
    new AbortController().signal,
  );
  const canvas = make("canvas", { width: still.width, height: still.height });
  canvas.getContext("2d")!.drawImage(still, 0, 0);
  const blob = await new Promise<Blob | null>(done => canvas.toBlob(done));
  const link = make("a", { href: URL.createObjectURL(blob!), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const sizes = new Map<string, number>();

export function showExports(app: App): void {
  if (!$<HTMLDialogElement>("export-dialog").open && $("exports").childElementCount) return;
  const mine = app.state.jobs.filter(job => job.kind === "export").slice(0, 6);
  fill(
    $("exports"),
    mine.map(job => [job.id, job.state, job.line, job.percent, sizes.get(job.id)]),
    () => mine.map(job => item(app, job)),
  );
}

function item(app: App, job: Job): HTMLElement {
  const file = String(job.about.file),
    source = at`jobs/${job.id}/${file}`;
  const said = make("div", { className: "said" }, make("b", { textContent: file }));
  if (job.state === "running")
    said.append(
      make("progress", { max: 100, label: job.title, ...(job.percent === null ? {} : { value: job.percent }) }),
      make("span", { className: "quiet", textContent: job.line }),
    );
  else if (job.state !== "done")
    said.append(make("span", { className: "wrong", textContent: job.state === "stopped" ? "stopped" : job.line }));
  else {
    const size = sizes.get(job.id);
    if (size === undefined)
      void fetch(source, { method: "HEAD" }).then(found => {
        sizes.set(job.id, Number(found.headers.get("content-length")));
        app.changed();
      });
    said.append(
      make("span", { className: "quiet", textContent: size ? bytes(size) : "" }),
      make("a", { href: `${source}?download`, textContent: "Download", download: file, label: `Download ${file}` }),
    );
  }
  const shown =
    job.state !== "done"
      ? []
      : VIDEO.test(file)
        ? [make("video", { src: source, controls: true, loop: true, muted: true, label: file })]
        : IMAGE.test(file)
          ? [make("img", { src: source, alt: file })]
          : [];
  return make("li", {}, said, ...shown);
}
