// What the server says, and the document that is edited: scene.eqvid.json.

export interface Placement {
  translation: [number, number];
  rotation: number;
  scale: number;
}
export interface Entry {
  id: string;
  clip: string;
  character: number;
  frame?: number;
  play?: boolean;
  motion: Placement;
  template: string | null;
  hidden: boolean;
  order: number;
}
export type Background = { clip: string } | { picture: string } | null;
export interface Scene {
  format: 1;
  run: string;
  clips: { name: string; path: string; sha256: string | null }[];
  size: [number, number];
  background: Background;
  frames: number;
  rate: number;
  characters: Entry[];
  removed: number[];
  corrections: unknown[];
}
export interface Job {
  id: string;
  kind: string;
  title: string;
  about: Record<string, unknown>;
  state: "running" | "done" | "failed" | "stopped";
  line: string;
  percent: number | null;
  seconds: number;
}
export interface CastEntry {
  clip: string;
  number: number;
  name: string;
  active: boolean;
  dropped?: boolean;
  merged_into?: number;
}
export interface Run {
  name: string;
  path: string;
  finished: boolean;
  resumable: boolean;
  picture: number | null;
  clips: string[];
  cast: CastEntry[];
  wrong: string;
}
export interface Mover {
  number: number;
  first: number;
  last: number;
  box: number[];
  share: number;
  picture?: string;
}
export interface Report {
  name: string;
  frames: number;
  size: [number, number];
  fps: number;
  verdict?: string;
  reasons?: string[];
  restless?: number;
  characters?: Mover[];
  parts?: Report[];
  camera?: string;
  unowned?: number;
}
export interface ClipEntry {
  name: string;
  called: string;
  path: string;
  report: Report | null;
  wrong: string;
}
export interface State {
  home: string;
  runs: Run[];
  clips: ClipEntry[];
  pictures: { name: string; path: string }[];
  scenes: string[];
  jobs: Job[];
}
export interface ClipFacts {
  name: string;
  called: string;
  path: string;
  size: [number, number];
  count: number;
  fps: number;
}
export type Affine = [[number, number, number], [number, number, number]];
export interface Motion {
  name: string;
  fps: number;
  seconds: number;
  loops: boolean;
  about: string;
  poses: Affine[];
  own: boolean;
}
export interface Performed {
  order: number[];
  poses: Affine[];
  home: Record<string, Affine>;
  centre: [number, number];
}
export interface Point {
  x: number;
  y: number;
}
