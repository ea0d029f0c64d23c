// The layers of a clip, loaded a frame at a time; and the frames of a clip that was not taken apart.

import { at, bitmap, get, Refused } from "./api";

export interface Cut {
  image: ImageBitmap | null;
  x: number;
  y: number;
  w: number;
  h: number;
  cx: number;
  cy: number;
}
export interface Frame {
  characters: Record<string, Cut>;
  plate: ImageBitmap | null;
}
interface Described {
  size: [number, number];
  shown: [number, number];
  count: number;
  fps: number;
  plates: boolean;
  version: number;
  characters: { number: number; name: string; first: number | null; last: number | null }[];
}
interface Sent {
  characters: Record<string, Cut & { url: string }>;
  plate: string;
}

export class Layers {
  readonly frames = new Map<number, Frame>();
  background: ImageBitmap | null = null;
  private waiting = new Map<number, Promise<Frame>>();

  private constructor(
    readonly run: string,
    readonly clip: string,
    readonly info: Described,
  ) {}

  /** The layers, or the job that makes them. */
  static async open(run: string, clip: string): Promise<Layers | { job: string }> {
    const info = await get<Described | { job: string }>(at`runs/${run}/layers/${clip}`);
    if ("job" in info) return info;
    const layers = new Layers(run, clip, info);
    layers.background = await bitmap(`${at`runs/${run}/layers/${clip}/background`}?v=${info.version}`);
    return layers;
  }

  load(index: number): Promise<Frame> {
    const known = this.waiting.get(index);
    if (known) return known;
    const made = this.fetch(index);
    this.waiting.set(index, made);
    return made;
  }

  /** All frames, the nearest first. */
  async loadAll(from: number, each: () => void): Promise<void> {
    for (let k = 0; k < this.info.count; k++) {
      await this.load((from + k) % this.info.count);
      each();
    }
  }

  private async fetch(index: number): Promise<Frame> {
    const sent = await get<Sent>(`${at`runs/${this.run}/layers/${this.clip}/frames/${index}`}?v=${this.info.version}`);
    const characters: Record<string, Cut> = {};
    await Promise.all(
      Object.entries(sent.characters).map(async ([number, one]) => {
        characters[number] = { ...one, image: await bitmap(one.url) };
      }),
    );
    const frame = { characters, plate: await bitmap(sent.plate) };
    this.frames.set(index, frame);
    return frame;
  }
}

export class ClipFrames {
  private frames = new Map<number, ImageBitmap>();
  private asked = new Set<number>();

  constructor(
    readonly clip: string,
    readonly count: number,
    private ready: () => void,
  ) {}

  at(index: number): ImageBitmap | undefined {
    for (let k = 0; k < 8; k++) void this.ask((index + k) % this.count);
    return this.frames.get(index);
  }

  /** The frame, or the last one before it that is there: nothing flickers while frames arrive. */
  nearest(index: number): ImageBitmap | undefined {
    const now = this.at(index);
    for (let k = index; !now && k >= 0; k--) if (this.frames.has(k)) return this.frames.get(k);
    return now;
  }

  private async ask(index: number): Promise<void> {
    if (this.asked.has(index)) return;
    this.asked.add(index);
    try {
      const found = await bitmap(at`clips/${this.clip}/frames/${index}`);
      if (found) this.frames.set(index, found);
      this.ready();
    } catch (error) {
      if (!(error instanceof Refused)) this.asked.delete(index);
    }
  }
}
