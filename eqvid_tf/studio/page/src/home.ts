// Before there is a scene: files are dropped, clips are looked at, models are trained.

import { at, send, upload } from "./api";
import { App } from "./app";
import { $, fill, make, text } from "./dom";
import { ClipEntry, ClipFacts, Report, Run } from "./types";

export function bindHome(app: App): void {
  $("home").onclick = () => void app.try(() => app.openHome());
  const chosen = $<HTMLInputElement>("choose");
  chosen.onchange = () => {
    if (chosen.files?.[0]) void take(app, chosen.files[0]);
    chosen.value = "";
  };
  document.addEventListener("dragover", event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", event => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", event => {
    document.body.classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    void take(app, file);
  });
  $("train").onclick = () => void app.try(() => train(app));
}

/** A dropped file: a video is opened and looked at, a picture becomes the background. */
export async function take(app: App, file: File): Promise<void> {
  await app.try(async () => {
    text($("saved"), `${file.name} …`);
    const found = await upload(file).finally(() => text($("saved"), ""));
    app.state = await (await fetch("state")).json();
    if (found.clip) await app.openClip(found.clip);
    const picture = app.state.pictures.find(one => one.name === found.picture);
    if (picture && app.scene) await app.setBackground({ picture: picture.path });
    else if (picture) app.say(`${file.name}: is a picture. Open a scene, and it becomes its background.`);
  });
}

async function train(app: App): Promise<void> {
  const name = $<HTMLInputElement>("run-name").value.trim(),
    minutes = $<HTMLInputElement>("minutes").valueAsNumber;
  await send("jobs", { kind: "train", clips: [app.facts!.name], minutes, name });
}

export function showHome(app: App): void {
  if (app.mode === "home") {
    text($("where"), `What is dropped, trained and saved is kept in ${app.state.home}.`);
    const runs = app.state.runs.filter(run => run.finished);
    fill($("runs"), [runs.map(run => [run.name, run.clips]), app.state.clips.map(clip => clip.called)], () =>
      runs.length
        ? runs.flatMap(run => scenesOf(app, run))
        : [make("li", { className: "quiet", textContent: "None yet: train one on a clip." })],
    );
    fill(
      $("clips"),
      app.state.clips.map(clip => [clip.name, clip.report?.verdict, clip.wrong]),
      () =>
        app.state.clips.length
          ? app.state.clips.map(clip => clipItem(app, clip))
          : [make("li", { className: "quiet", textContent: "None yet: drop a video." })],
    );
  }
  if (app.mode === "clip" && app.facts) showClip(app, app.facts);
}

function scenesOf(app: App, run: Run): HTMLElement[] {
  const here = app.state.clips.filter(clip => run.clips.includes(clip.called));
  if (!here.length)
    return [
      make("li", {
        className: "quiet",
        textContent: `${run.name}: drop the file of ${run.clips.join(" or ")}, on which it was trained.`,
      }),
    ];
  return here.map(clip => {
    const button = make("button", {}, run.name, make("span", { textContent: clip.called }));
    button.onclick = () => void app.try(() => app.openScene(run.name, clip.name));
    return make("li", {}, button);
  });
}

function clipItem(app: App, clip: ClipEntry): HTMLElement {
  const button = make(
    "button",
    {},
    clip.name,
    make("span", { textContent: clip.wrong ? "cannot be read" : (clip.report?.verdict ?? "") }),
  );
  button.onclick = () => void app.try(() => app.openClip(clip.name));
  return make("li", {}, button);
}

// ---- a clip before its training

function showClip(app: App, facts: ClipFacts): void {
  const clip = app.state.clips.find(one => one.name === facts.name);
  if (!clip) return;
  const parts = clip.report?.parts ?? (clip.report ? [clip.report] : []);
  showVerdict(clip, parts);
  showMovers(facts.name, parts);
  showTraining(app, clip);
}

function showVerdict(clip: ClipEntry, parts: Report[]): void {
  const worst = ["does not suit", "suits with care", "suits"].find(one => parts.some(part => part.verdict === one));
  const words: Record<string, string> = {
    suits: "This clip suits",
    "suits with care": "This clip suits, with care",
    "does not suit": "This clip does not suit",
  };
  text($("verdict"), clip.wrong ? "This cannot be read" : worst ? words[worst] : "Looking at the clip …");
  $("verdict").className = clip.wrong || worst === "does not suit" ? "bad" : worst === "suits" ? "good" : "";
  const found = [...new Set(parts.flatMap(part => part.reasons ?? []))];
  const cuts = parts.length > 1 ? [`It has ${parts.length} scenes; each is taken as a clip of its own.`] : [];
  const none = worst && !found.length ? ["Expect a clean background and clean characters."] : [];
  const lines = clip.wrong ? [clip.wrong] : [...cuts, ...found, ...none];
  fill($("reasons"), lines, () =>
    lines.map(line => make("li", { textContent: line[0].toUpperCase() + line.slice(1) })),
  );
}

function showMovers(name: string, parts: Report[]): void {
  const movers = parts.flatMap(part => part.characters ?? []);
  fill($("movers"), movers, () =>
    movers.map(one => {
      const file = one.picture?.split("/").at(-1) ?? "";
      const about = `frames ${one.first}–${one.last}, ${(100 * one.share).toFixed(1)}\u00a0%`;
      return make(
        "li",
        {},
        ...(file ? [make("img", { src: at`clips/${name}/movers/${file}`, alt: `What moves: ${one.number}` })] : []),
        make("span", { className: "quiet", textContent: about }),
      );
    }),
  );
  const restless = Math.max(0, ...parts.map(part => part.restless ?? 0));
  const none = movers.length ? "" : "Nothing that could be told from the background. ";
  const moves = `${(100 * restless).toFixed(1)} % of the background is restless: it never keeps still.`;
  const said = restless < 0.0005 ? "Nothing is restless: the rest keeps still." : moves;
  text($("restless"), parts.length ? none + said : "");
}

let named = "";

function showTraining(app: App, clip: ClipEntry): void {
  const field = $<HTMLInputElement>("run-name"),
    job = app.state.jobs.find(one => one.kind === "train" && (one.about.clips as string[]).includes(clip.name));
  const running = job?.state === "running",
    stopped = app.state.runs.find(run => !run.finished && run.resumable && run.name === job?.about.run);
  if (named !== clip.name) {
    named = clip.name;
    field.value = freeName(app, stopped?.name ?? clip.called);
  }
  const button = $<HTMLButtonElement>("train");
  button.disabled = running || Boolean(clip.wrong);
  text(button, running ? "Training …" : stopped?.name === field.value ? "Go on" : "Train");
  text(
    $("train-says"),
    running ? "It goes on when this page is closed." : stopped ? `The training of ${stopped.name} was stopped.` : "",
  );
  const run = app.state.runs.find(one => one.name === job?.about.run),
    live = $("live");
  live.hidden = !running || !run?.picture;
  if (!live.hidden) {
    const source = `${at`runs/${run!.name}/picture`}?at=${run!.picture}`,
      image = $<HTMLImageElement>("live-picture");
    if (image.getAttribute("src") !== source) image.src = source;
  }
  const models = app.state.runs.filter(one => one.finished && one.clips.includes(clip.called));
  $("models-of-clip").hidden = !models.length;
  fill(
    $("models"),
    models.map(one => one.name),
    () =>
      models.map(one => {
        const open = make("button", { textContent: `Open ${one.name}` });
        open.onclick = () => void app.try(() => app.openScene(one.name, clip.name));
        return make("li", {}, open);
      }),
  );
}

function freeName(app: App, wanted: string): string {
  const plain =
    wanted
      .replace(/[^\w-]+/g, "-")
      .replace(/^-+|-+$/g, "")
      .slice(0, 40) || "model";
  let name = plain;
  for (let k = 2; app.state.runs.some(run => run.name === name && run.finished); k++) name = `${plain}-${k}`;
  return name;
}
