// What the page knows, and what can be done to the scene. Everything that is drawn or listed follows from it.

import { at, get, picture as fetchPicture, Refused, send } from "./api";
import type { Painting } from "./correct";
import { stand, Stand } from "./geometry";
import { History } from "./history";
import { ClipFrames, Layers } from "./layers";
import { Saver } from "./saver";
import { Background, ClipFacts, Entry, Motion, Performed, Run, Scene, State } from "./types";

const SETTLED = 140; // ms without another frame, before g is asked for a picture while one scrubs
export type Mode = "home" | "clip" | "scene";

export class App {
  state: State = { home: "", runs: [], clips: [], pictures: [], scenes: [], jobs: [] };
  mode: Mode = "home";
  facts: ClipFacts | null = null; // of the open clip
  frames: ClipFrames | null = null; // of the open clip
  run: Run | null = null;
  history: History<Scene> | null = null;
  layers = new Map<string, Layers>(); // by the name of the clip in the scene
  motions: Motion[] = [];
  backdrop: ImageBitmap | null = null; // of the scene's background, unless it is a clip's with plates
  chosen: string | null = null;
  hovered: string | null = null;
  picture = 0;
  playing = false;
  onion = false;
  painting: Painting | null = null;
  exporting = false; // what is exported has the processor for itself
  final: { image: ImageBitmap; key: string; ms: number } | null = null;
  trouble = "";

  private listeners: (() => void)[] = [];
  private movers: (() => void)[] = [];
  private performed = new Map<string, Performed | "asked">();
  private saver: Saver | null = null;
  private settling: ReturnType<typeof setTimeout> | undefined;
  private drawing: AbortController | null = null;
  private opened = 0;
  private readonly id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  private asked = 0; // pictures
  private opening = "";
  private warmed = false;
  private seed: Scene | null = null;

  // ---- telling and being told

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }
  /** While one drags, only what a place changes is drawn anew. */
  onMove(listener: () => void): void {
    this.movers.push(listener);
  }
  changed(): void {
    for (const listener of this.listeners) listener();
  }

  say(error: unknown): void {
    if ((error as Error).name === "AbortError") return;
    this.trouble = error instanceof Error ? error.message : String(error);
    this.changed();
  }

  async try<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      this.trouble = "";
      return await work();
    } catch (error) {
      this.say(error);
      return undefined;
    }
  }

  listen(): void {
    const events = new EventSource("events");
    events.onmessage = event => this.take(JSON.parse(event.data));
    events.onerror = () => {
      this.trouble = "The studio does not answer. Is eqvid studio still running? What was saved is kept.";
      this.changed();
    };
    events.onopen = () => {
      if (this.trouble.startsWith("The studio does not answer")) {
        this.trouble = "";
        this.changed();
      }
    };
  }

  take(state: State): void {
    const before = this.state;
    this.state = state;
    if (this.run) this.run = state.runs.find(run => run.name === this.run?.name) ?? this.run;
    for (const job of state.jobs) {
      const was = before.jobs.find(one => one.id === job.id);
      if (was?.state === "running" && job.state === "done") this.ended(job.kind, job.about);
    }
    this.changed();
  }

  private ended(kind: string, about: Record<string, unknown>): void {
    if (kind === "separate" && this.run?.name === about.run && this.mode === "scene")
      void this.try(() => this.loadLayers(String(about.clip)));
    if (kind === "cast" && this.run?.name === about.run && this.facts) void this.try(() => this.again());
    if (kind === "correct" && about.name && this.run?.name === about.run && this.scene) {
      const seed = structuredClone(this.scene);
      seed.corrections.push({ clip: this.called(String(about.clip)), character: about.character, frame: about.frame });
      void this.try(() => this.openScene(String(about.name), this.facts!.name, seed));
    }
    const clips = about.clips as string[] | undefined;
    if (kind === "train" && this.mode === "clip" && clips?.includes(this.facts?.name ?? "")) {
      void this.try(() => this.openScene(String(about.run), this.facts!.name));
    }
  }

  // ---- opening

  async openHome(): Promise<void> {
    this.leave();
    this.mode = "home";
    history.replaceState(null, "", "#");
    this.changed();
  }

  async openClip(name: string): Promise<void> {
    this.leave();
    const mine = this.opened;
    const facts = await get<ClipFacts>(at`clips/${name}`);
    if (mine !== this.opened) return;
    this.mode = "clip";
    this.useClip(facts);
    history.replaceState(null, "", `#clip=${encodeURIComponent(name)}`);
    this.playing = true;
    this.changed();
  }

  /** Open the scene of a model and a clip; a new one is made from a seed, where there is one. */
  async openScene(runName: string, clip: string, seed: Scene | null = null): Promise<void> {
    this.leave();
    this.seed = seed;
    const mine = this.opened;
    this.opening = clip;
    const facts = await get<ClipFacts>(at`clips/${clip}`);
    if (!this.state.runs.length) this.state = await get<State>("state");
    const run = this.state.runs.find(one => one.name === runName);
    if (!run) throw new Refused(`there is no model ${runName} here.`, 404);
    if (mine !== this.opened) return;
    this.run = run;
    this.mode = "scene";
    this.useClip(facts);
    history.replaceState(null, "", `#run=${encodeURIComponent(runName)}&clip=${encodeURIComponent(clip)}`);
    this.changed();
    this.warm(false);
    this.motions = await get<Motion[]>("motions");
    if (mine === this.opened) await this.loadLayers(clip);
  }

  /** Have ready what the next picture is drawn from; `moved`: when a character is moved. */
  private warm(moved: boolean): void {
    const body = { run: this.run!.name, clip: this.facts!.name, index: this.picture, moved };
    void send("warm", body).catch(() => undefined);
  }

  private useClip(facts: ClipFacts): void {
    this.facts = facts;
    this.frames = new ClipFrames(facts.name, facts.count, () => this.changed());
    this.picture = 0;
  }

  private leave(): void {
    this.opened++;
    void this.saver?.now();
    [this.run, this.history, this.facts, this.frames, this.backdrop, this.final] = [null, null, null, null, null, null];
    [this.chosen, this.hovered, this.playing, this.trouble, this.saver] = [null, null, false, "", null];
    this.painting = null;
    this.warmed = false;
    this.layers.clear();
    this.performed.clear();
    this.drawing?.abort();
  }

  /** Open the same scene again: the characters of its model have changed. */
  private async again(): Promise<void> {
    await this.saveNow();
    await this.openScene(this.run!.name, this.facts!.name);
  }

  /** The layers of a clip of the scene; where they are still made, the end of that job calls this again. */
  private async loadLayers(clip: string): Promise<void> {
    const [run, mine] = [this.run!, this.opened];
    const layers = await Layers.open(run.name, clip);
    if ("job" in layers || mine !== this.opened) return;
    this.layers.set(this.called(clip), layers);
    if (clip === this.opening && !this.history) await this.openDocument(layers);
    await this.loadBackdrop();
    this.changed();
    await layers.loadAll(this.history ? this.indexIn(layers) : 0, () => {
      if (mine === this.opened) this.changed();
    });
    if (mine === this.opened) this.settle(0);
  }

  private indexIn(layers: Layers): number {
    return Math.min(this.picture, layers.info.count - 1);
  }
  called(clip: string): string {
    return this.state.clips.find(one => one.name === clip)?.called ?? clip;
  }

  get sceneName(): string {
    return `${this.run!.name} ${this.facts!.called}`.replace(/[^\w .()@+-]/g, "_").slice(0, 90);
  }

  private async openDocument(layers: Layers): Promise<void> {
    const mine = this.opened;
    const known = (await get<State>("state")).scenes.includes(this.sceneName);
    const found = known ? await Saver.read(this.sceneName) : null;
    if (mine !== this.opened) return;
    const fresh = this.seed ? { ...this.seed, run: this.run!.path } : newScene(this.run!, this.facts!, layers);
    const scene = found?.scene ?? fresh;
    this.history = new History(scene);
    this.saver = new Saver(this.sceneName, found?.revision ?? null, this.history, error => {
      if (error) this.say(error);
      this.changed();
    });
    if (!found) this.saver.soon();
    for (const { name } of scene.clips) {
      const entry = this.state.clips.find(one => one.called === name);
      if (entry && !this.layers.has(name)) void this.try(() => this.loadLayers(entry.name));
    }
  }

  // ---- the scene

  get scene(): Scene | null {
    return this.history?.value ?? null;
  }
  get entry(): Entry | null {
    return this.scene?.characters.find(one => one.id === this.chosen) ?? null;
  }
  get count(): number {
    return this.scene?.frames ?? this.facts?.count ?? 1;
  }
  get rate(): number {
    return this.scene?.rate ?? this.facts?.fps ?? 25;
  }

  /** Width and height of the stage in its own pixels. */
  get view(): DOMPoint {
    const [w, h] = this.scene?.size ?? this.facts?.size ?? [16, 9];
    const scale = Math.min(1, 1280 / Math.max(w, h));
    return new DOMPoint(Math.max(1, Math.round(w * scale)), Math.max(1, Math.round(h * scale)));
  }

  inOrder(): Entry[] {
    return [...(this.scene?.characters ?? [])].sort((a, b) => a.order - b.order);
  }
  name(entry: Entry): string {
    const listed = this.layers.get(entry.clip)?.info.characters.find(one => one.number === entry.character);
    const known = this.run?.cast.find(one => one.clip === entry.clip && one.number === entry.character);
    const name = known?.name ?? listed?.name ?? `${entry.clip}-${entry.character}`;
    const same = this.scene!.characters.filter(one => one.clip === entry.clip && one.character === entry.character);
    return same.length > 1 ? `${name} (${same.indexOf(entry) + 1})` : name;
  }

  stand(entry: Entry, picture = this.picture): Stand | null {
    const layers = this.layers.get(entry.clip);
    if (!layers || !this.scene) return null;
    return stand(entry, this.scene, layers, entry.template ? this.performance(entry) : undefined, picture, this.view);
  }

  private performance(entry: Entry): Performed | undefined {
    const scene = this.scene!,
      who = [entry.clip, entry.character, entry.template, entry.play ? "play" : entry.frame];
    const key = JSON.stringify([...who, scene.frames, scene.rate, scene.size]);
    const known = this.performed.get(key);
    if (!known) {
      this.performed.set(key, "asked");
      const still = { translation: [0, 0], rotation: 0, scale: 1 };
      const alone = {
        ...scene,
        background: null,
        removed: [],
        characters: [{ ...entry, motion: still, hidden: false }],
      };
      void this.try(async () => {
        this.performed.set(key, await send<Performed>("perform", { run: this.run!.name, scene: alone, id: entry.id }));
        this.changed();
      });
    }
    return known === "asked" ? undefined : known;
  }

  /** Change the scene; without `commit` the step goes on, as while one drags. */
  change(work: (scene: Scene) => void, commit = true): void {
    if (!this.history) return;
    work(this.history.value);
    this.final = null;
    this.drawing?.abort();
    if (commit) this.commit();
    if (commit) this.changed();
    else for (const listener of this.movers) listener();
  }

  changeChosen(work: (entry: Entry) => void, commit = true): void {
    const entry = this.entry;
    if (entry) this.change(() => work(entry), commit);
  }

  commit(): void {
    if (this.history?.commit()) this.saver?.soon();
    this.settle(0);
  }

  undo(): void {
    this.travel(this.history?.undo());
  }
  redo(): void {
    this.travel(this.history?.redo());
  }
  private travel(moved: boolean | undefined): void {
    if (!moved) return;
    if (!this.entry) this.chosen = null;
    this.final = null;
    this.saver?.soon();
    void this.try(() => this.loadBackdrop());
    this.settle(0);
    this.changed();
  }

  choose(id: string | null): void {
    this.chosen = id;
    this.changed();
  }

  remove(): void {
    const entry = this.entry;
    if (!entry) return;
    this.change(scene => {
      scene.characters = scene.characters.filter(one => one !== entry);
      this.tidy(scene);
    });
    this.choose(null);
  }

  /** The characters of the scene's first clip that are not in it. */
  gone(): { number: number; name: string }[] {
    const main = this.facts && this.layers.get(this.facts.called);
    if (!main || !this.scene) return [];
    const there = this.scene.characters.filter(one => one.clip === this.facts!.called).map(one => one.character);
    return main.info.characters.filter(one => !there.includes(one.number));
  }

  bringBack(number: number): void {
    const clip = this.facts!.called;
    this.change(scene => {
      scene.characters.push(newEntry(scene, clip, number));
      this.tidy(scene);
    });
    this.choose(this.scene!.characters.at(-1)!.id);
  }

  duplicate(): void {
    const entry = this.entry;
    if (!entry) return;
    const copy: Entry = structuredClone(entry);
    this.change(scene => {
      copy.id = freshId(scene);
      copy.motion.translation[0] += 0.15;
      copy.order = Math.max(...scene.characters.map(one => one.order)) + 1;
      scene.characters.push(copy);
    });
    this.choose(copy.id);
  }

  restack(front: boolean): void {
    const entry = this.entry;
    if (!entry) return;
    const rest = this.inOrder().filter(one => one !== entry);
    const order = front ? [...rest, entry] : [entry, ...rest];
    this.change(() =>
      order.forEach((one, k) => {
        one.order = k;
      }),
    );
  }

  freezeOrWalk(): void {
    const now = this.entry && this.stand(this.entry);
    this.changeChosen(entry => {
      if (entry.play) {
        delete entry.play;
        entry.frame = now?.index ?? 0;
      } else {
        delete entry.frame;
        entry.play = true;
      }
    });
  }

  giveMotion(id: string, name: string | null): void {
    const motion = this.motions.find(one => one.name === name);
    this.chosen = id;
    this.change(scene => {
      const entry = scene.characters.find(one => one.id === id)!;
      entry.template = name;
      if (motion) scene.frames = Math.min(10000, Math.max(scene.frames, Math.ceil(motion.seconds * scene.rate) + 1));
    });
  }

  async setBackground(background: Background): Promise<void> {
    this.change(scene => {
      scene.background = background;
      if (background && "clip" in background && !scene.clips.some(one => one.name === background.clip)) {
        const path = this.state.clips.find(one => one.called === background.clip)!.path;
        scene.clips.push({ name: background.clip, path, sha256: null });
      }
      this.tidy(scene);
    });
    await this.loadBackdrop();
    this.changed();
  }

  /** Whoever is of the background's clip and not in the scene is taken out of the background. */
  private tidy(scene: Scene): void {
    const background = scene.background;
    const clip = background && "clip" in background ? background.clip : null;
    const listed = this.layers.get(clip ?? "")?.info.characters.map(one => one.number);
    const cast = this.run!.cast.filter(one => one.clip === clip && one.active).map(one => one.number);
    const there = scene.characters.filter(one => one.clip === clip).map(one => one.character);
    scene.removed = clip ? (listed ?? cast).filter(number => !there.includes(number)) : [];
  }

  private async loadBackdrop(): Promise<void> {
    const background = this.scene?.background ?? null;
    const key = JSON.stringify(background);
    let found: ImageBitmap | null = null;
    if (background && "clip" in background) {
      const layers = this.layers.get(background.clip);
      found = layers?.background ?? (await image(at`runs/${this.run!.name}/backgrounds/${background.clip}`));
    } else if (background) {
      const name = this.state.pictures.find(one => one.path === background.picture)?.name ?? "";
      found = await image(at`pictures/${name}`);
    }
    if (key === JSON.stringify(this.scene?.background ?? null)) this.backdrop = found;
  }

  // ---- time

  go(picture: number): void {
    this.playing = false;
    this.picture = (picture + this.count) % this.count;
    this.final = null;
    this.settle(SETTLED);
    this.changed();
  }

  toggle(): void {
    this.playing = !this.playing;
    if (!this.playing) this.settle(0);
    else this.final = null;
    this.changed();
  }

  setLength(frames: number): void {
    if (frames >= 2 && frames <= 10000)
      this.change(scene => {
        scene.frames = Math.round(frames);
      });
    if (this.picture >= this.count) this.go(this.count - 1);
  }

  // ---- g's own picture

  /** Ask for the picture of this moment as it is rendered, once nothing has changed for some time. */
  settle(wait: number): void {
    clearTimeout(this.settling);
    this.drawing?.abort();
    if (this.mode !== "scene" || !this.scene || this.playing || this.painting || this.exporting) return;
    if (wait) this.settling = setTimeout(() => void this.draw(), wait);
    else void this.draw();
  }

  private async draw(): Promise<void> {
    const asked = (this.drawing = new AbortController()),
      began = performance.now();
    const body = { run: this.run!.name, scene: this.scene, index: this.picture };
    const key = JSON.stringify(body);
    try {
      const found = await fetchPicture("draw", { ...body, page: this.id, number: ++this.asked }, asked.signal);
      if (asked.signal.aborted || key !== JSON.stringify({ ...body, scene: this.scene, index: this.picture })) return;
      this.final = { image: found, key, ms: Math.round(performance.now() - began) };
      if (!this.warmed) this.warm(true);
      this.warmed = true;
      this.changed();
    } catch (error) {
      this.say(error);
    }
  }

  // ---- saving

  get saved(): string {
    return this.saver?.saved ? "saved" : "";
  }
  get conflict(): boolean {
    return this.saver?.conflict ?? false;
  }
  saveNow(): Promise<void> {
    return this.saver?.now() ?? Promise.resolve();
  }

  /** After another tab saved: take what it saved, or save this one over it. */
  async resolve(takeTheirs: boolean): Promise<void> {
    await this.saver?.resolve(takeTheirs);
    this.final = null;
    await this.loadBackdrop();
    this.settle(0);
    this.changed();
  }
}

async function image(address: string): Promise<ImageBitmap> {
  const response = await fetch(address);
  if (!response.ok) throw new Refused((await response.json()).error, response.status);
  return createImageBitmap(await response.blob());
}

function newScene(run: Run, facts: ClipFacts, layers: Layers): Scene {
  const scene: Scene = {
    format: 1,
    run: run.path,
    clips: [{ name: facts.called, path: facts.path, sha256: null }],
    size: facts.size,
    background: { clip: facts.called },
    frames: Math.min(10000, facts.count),
    rate: facts.fps,
    characters: [],
    removed: [],
    corrections: [],
  };
  for (const one of [...layers.info.characters].reverse())
    scene.characters.push(newEntry(scene, facts.called, one.number));
  return scene;
}

function newEntry(scene: Scene, clip: string, character: number): Entry {
  const order = Math.max(-1, ...scene.characters.map(one => one.order)) + 1;
  const motion = { translation: [0, 0] as [number, number], rotation: 0, scale: 1 };
  return { id: freshId(scene), clip, character, play: true, motion, template: null, hidden: false, order };
}

function freshId(scene: Scene): string {
  let number = 1;
  while (scene.characters.some(one => one.id === `c${number}`)) number++;
  return `c${number}`;
}
