// Saving a scene as one goes: one request at a time, and never over what another tab has saved.

import { at, get, Refused, send } from "./api";
import { History } from "./history";
import { Scene } from "./types";

const AFTER = 250; // ms without another change
const AGAIN = 3000; // ms after a save that did not succeed

interface Saved {
  scene: Scene;
  revision: string;
}

export class Saver {
  saved = false;
  conflict = false; // another tab, or another program, has saved
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running: Promise<void> | null = null;

  /** `told` is called when something has changed, with an error where there was one. */
  constructor(
    private name: string,
    private revision: string | null,
    private history: History<Scene>,
    private told: (error?: unknown) => void,
  ) {
    this.saved = revision !== null;
  }

  static read(name: string): Promise<Saved> {
    return get<Saved>(at`scenes/${name}`);
  }

  soon(wait = AFTER): void {
    this.saved = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.now(), wait);
  }

  async now(): Promise<void> {
    clearTimeout(this.timer);
    if (this.running) await this.running;
    if (this.saved || this.conflict) return;
    this.running ??= this.save().finally(() => (this.running = null));
    await this.running;
  }

  private async save(): Promise<void> {
    const text = JSON.stringify(this.history.value);
    try {
      const body = { scene: JSON.parse(text), revision: this.revision };
      this.revision = (await send<Saved>(at`scenes/${this.name}`, body, "PUT")).revision;
      if (text === JSON.stringify(this.history.value)) this.saved = true;
      else this.soon();
      this.told();
    } catch (error) {
      this.conflict = error instanceof Refused && error.status === 409;
      if (!this.conflict) this.soon(AGAIN);
      this.told(this.conflict ? undefined : error);
    }
  }

  /** After another tab has saved: take what it saved, or save this one over it. */
  async resolve(takeTheirs: boolean): Promise<void> {
    const theirs = await Saver.read(this.name);
    this.revision = theirs.revision;
    this.conflict = false;
    if (!takeTheirs) return this.now();
    this.history.value = theirs.scene;
    this.history.commit();
    this.saved = true;
  }
}
