// The stage: drawing, the pointer, and the selected character's handles.

import { App } from "./app";
import { corners, cover, far, Stand } from "./geometry";
import { Entry, Point } from "./types";

const NEAR = 12,
  ARM = 26; // screen pixels: of a handle; from the box to the turning one
const SEEN = 40; // alpha, of 255, from which a point shows a character
const GHOSTS = 3; // pictures before and after, of the onion skin

type Grip = {
  kind: "move" | "turn" | "size";
  from: Point;
  centre: Point;
  translation: [number, number];
  rotation: number;
  scale: number;
};

export class Stage {
  path: (Point & { t: number })[] | null = null; // while a path is drawn
  onPath: (points: [number, number, number][]) => void = () => undefined;
  drawn = 0; // pictures since the page was opened, for measuring
  private paper: CanvasRenderingContext2D;
  private ink: CanvasRenderingContext2D;
  private probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true })!;
  private glow = document.createElement("canvas").getContext("2d")!;
  private grip: Grip | null = null;
  private began = 0;
  private waiting = false;

  constructor(
    private app: App,
    private stage: HTMLCanvasElement,
    private handles: HTMLCanvasElement,
    private frame: HTMLElement,
    private area: HTMLElement,
  ) {
    this.paper = stage.getContext("2d")!;
    this.ink = handles.getContext("2d")!;
    new ResizeObserver(() => this.fit()).observe(area);
    scheme.addEventListener("change", () => this.soon());
    app.onChange(() => {
      this.fit();
      this.soon();
    });
    app.onMove(() => this.soon());
    handles.addEventListener("pointerdown", event => this.down(event));
    handles.addEventListener("pointermove", event => this.move(event));
    handles.addEventListener("pointerup", () => this.up());
    handles.addEventListener("pointercancel", () => this.up());
    handles.addEventListener("pointerleave", () => this.hover(null));
  }

  get zoom(): number {
    return this.handles.clientWidth / this.app.view.x || 1;
  }
  get dragging(): boolean {
    return this.grip !== null;
  }

  /** The canvas is as large as the area allows; what it holds has the scene's own pixels. */
  private fit(): void {
    const { x, y } = this.app.view;
    const grown = Math.max(0.05, Math.min((this.area.clientWidth - 24) / x, (this.area.clientHeight - 24) / y));
    const [w, h] = [Math.round(x * grown), Math.round(y * grown)];
    if (this.frame.clientWidth !== w || this.frame.clientHeight !== h)
      Object.assign(this.frame.style, { width: `${w}px`, height: `${h}px` });
    if (this.stage.width !== x || this.stage.height !== y) [this.stage.width, this.stage.height] = [x, y];
    const [sw, sh] = [Math.round(w * devicePixelRatio), Math.round(h * devicePixelRatio)];
    if (this.handles.width !== sw || this.handles.height !== sh) [this.handles.width, this.handles.height] = [sw, sh];
    this.soon();
  }

  soon(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  // ---- drawing

  private draw(): void {
    this.drawn++;
    const { x, y } = this.app.view;
    this.paper.resetTransform();
    this.paper.clearRect(0, 0, x, y);
    this.paper.imageSmoothingQuality = this.grip ? "low" : "high";
    if (this.app.painting) this.drawPainting();
    else if (this.app.final && !this.grip) this.paper.drawImage(this.app.final.image, 0, 0, x, y);
    else if (this.app.scene) this.drawScene(this.paper);
    else {
      const frame = this.app.frames?.nearest(this.app.picture);
      if (frame) this.paper.drawImage(frame, 0, 0, x, y);
    }
    this.drawHandles();
  }

  private drawScene(paper: CanvasRenderingContext2D): void {
    const { x, y } = this.app.view,
      behind = this.behind();
    if (behind) cover(paper, behind, x, y);
    for (const entry of this.app.inOrder()) {
      const now = entry.hidden ? null : this.app.stand(entry);
      if (now) this.drawCut(paper, now);
    }
    paper.resetTransform();
  }

  /** The clip's own frame, the mask as it is, and what was painted. */
  private drawPainting(): void {
    const { index, entry, strokes } = this.app.painting!,
      { x, y } = this.app.view;
    const frame = this.app.frames!.nearest(index),
      layers = this.app.layers.get(entry.clip)!;
    const cut = layers.frames.get(index)?.characters[String(entry.character)];
    if (frame) this.paper.drawImage(frame, 0, 0, x, y);
    if (cut?.image) {
      const grown = x / layers.info.shown[0];
      this.drawTint(cut.image, new DOMMatrix().scale(grown).translate(cut.x, cut.y), [x, y], this.paper, 0.5);
    }
    this.paper.globalAlpha = 0.75;
    this.paper.drawImage(strokes.canvas, 0, 0, x, y);
    this.paper.globalAlpha = 1;
  }

  private behind(): ImageBitmap | null {
    const background = this.app.scene!.background;
    const layers = background && "clip" in background ? this.app.layers.get(background.clip) : undefined;
    if (!layers?.info.plates) return this.app.backdrop;
    const at = Math.min(this.app.picture, layers.info.count - 1);
    return layers.frames.get(at)?.plate ?? this.app.backdrop;
  }

  private drawCut(paper: CanvasRenderingContext2D, { cut, matrix }: Stand): void {
    paper.setTransform(matrix);
    paper.drawImage(cut.image!, cut.x, cut.y, cut.w, cut.h);
  }

  private drawHandles(): void {
    const { ink } = this,
      scale = this.zoom * devicePixelRatio;
    ink.resetTransform();
    ink.clearRect(0, 0, this.handles.width, this.handles.height);
    if (this.app.mode === "clip") this.drawMovers(scale);
    const hovered = this.app.scene?.characters.find(one => one.id === this.app.hovered);
    if (hovered && !this.grip && !this.app.painting) this.drawGlow(hovered, scale);
    if (this.app.entry && this.app.onion && !this.app.painting) this.drawOnion(this.app.entry, scale);
    if (this.path) this.line(this.path, scale, accent(), 3, false);
    const now = this.app.entry && !this.app.entry.hidden && !this.app.painting ? this.app.stand(this.app.entry) : null;
    if (now) this.drawBox(now, scale);
  }

  private drawBox(now: Stand, scale: number): void {
    const box = corners(now),
      top = { x: (box[0].x + box[1].x) / 2, y: (box[0].y + box[1].y) / 2 },
      turner = this.turner(now);
    for (const [colour, width] of [
      ["#000a", 3],
      ["#fff", 1.5],
    ] as const) {
      this.line(box, scale, colour, width, true);
      this.line([top, turner], scale, colour, width, false);
    }
    for (const point of [this.sizer(now), turner]) {
      this.ink.beginPath();
      this.ink.arc(point.x * scale, point.y * scale, 6 * devicePixelRatio, 0, 7);
      [this.ink.fillStyle, this.ink.strokeStyle, this.ink.lineWidth] = [accent(), "#fff", 2 * devicePixelRatio];
      this.ink.fill();
      this.ink.stroke();
    }
  }

  private drawGlow(entry: Entry, scale: number): void {
    const now = this.app.stand(entry);
    if (!now || entry.hidden) return;
    const matrix = new DOMMatrix().scale(scale).multiply(now.matrix).translate(now.cut.x, now.cut.y);
    this.drawTint(now.cut.image!, matrix, [this.handles.width, this.handles.height], this.ink, 0.4);
  }

  /** A cut-out in one colour. */
  private drawTint(
    image: ImageBitmap,
    matrix: DOMMatrix,
    size: [number, number],
    onto: CanvasRenderingContext2D,
    alpha: number,
  ): void {
    const { glow } = this;
    [glow.canvas.width, glow.canvas.height] = size;
    glow.setTransform(matrix);
    glow.drawImage(image, 0, 0);
    glow.resetTransform();
    glow.globalCompositeOperation = "source-in";
    glow.fillStyle = accent();
    glow.fillRect(0, 0, ...size);
    onto.globalAlpha = alpha;
    onto.drawImage(glow.canvas, 0, 0);
    onto.globalAlpha = 1;
  }

  /** The path of a character's centre over the whole scene, and the character itself before and after. */
  private drawOnion(entry: Entry, scale: number): void {
    const step = Math.max(1, Math.round(this.app.rate / 3)),
      points: Point[] = [];
    for (let k = 0; k < this.app.count; k++) {
      const centre = this.app.stand(entry, k)?.centre;
      if (centre) points.push(centre);
    }
    this.ink.globalAlpha = 0.22;
    for (let k = -GHOSTS; k <= GHOSTS; k++) {
      const at = this.app.picture + k * step,
        now = k && at >= 0 && at < this.app.count ? this.app.stand(entry, at) : null;
      if (!now) continue;
      this.ink.setTransform(new DOMMatrix().scale(scale).multiply(now.matrix));
      this.ink.drawImage(now.cut.image!, now.cut.x, now.cut.y, now.cut.w, now.cut.h);
    }
    this.ink.resetTransform();
    this.ink.globalAlpha = 1;
    this.line(points, scale, "#000a", 3, false);
    this.line(points, scale, accent(), 1.5, false);
  }

  private drawMovers(scale: number): void {
    const clip = this.app.state.clips.find(one => one.name === this.app.facts?.name),
      facts = this.app.facts;
    const grown = facts ? this.app.view.x / facts.size[0] : 1;
    for (const one of clip?.report?.characters ?? []) {
      if (this.app.picture < one.first || this.app.picture > one.last) continue;
      const [l, t, r, b] = one.box.map(side => side * grown);
      const box = [
        { x: l, y: t },
        { x: r, y: t },
        { x: r, y: b },
        { x: l, y: b },
      ];
      this.line(box, scale, "#0008", 2, true);
      this.ink.setLineDash([5 * devicePixelRatio, 5 * devicePixelRatio]);
      this.line(box, scale, "#fff", 1.2, true);
      this.ink.setLineDash([]);
    }
  }

  private line(points: Point[], scale: number, colour: string, width: number, closed: boolean): void {
    this.ink.beginPath();
    for (const point of points) this.ink.lineTo(point.x * scale, point.y * scale);
    if (closed) this.ink.closePath();
    [this.ink.strokeStyle, this.ink.lineWidth, this.ink.lineJoin] = [colour, width * devicePixelRatio, "round"];
    this.ink.stroke();
  }

  // ---- handles, kept where they can be taken

  turner(now: Stand): Point {
    const [a, b] = corners(now),
      middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    const long = Math.max(far(now.centre, middle), 1),
      arm = ARM / this.zoom;
    return this.within({
      x: middle.x + ((middle.x - now.centre.x) / long) * arm,
      y: middle.y + ((middle.y - now.centre.y) / long) * arm,
    });
  }
  sizer(now: Stand): Point {
    return this.within(corners(now)[2]);
  }
  private within({ x, y }: Point): Point {
    const view = this.app.view,
      edge = 8 / this.zoom;
    return { x: Math.min(Math.max(x, edge), view.x - edge), y: Math.min(Math.max(y, edge), view.y - edge) };
  }

  // ---- pointer

  point(event: { clientX: number; clientY: number }): Point {
    const box = this.handles.getBoundingClientRect();
    return { x: (event.clientX - box.left) / this.zoom, y: (event.clientY - box.top) / this.zoom };
  }

  /** The character that is seen at a point, the foremost one. */
  under(point: Point): Entry | null {
    return (
      this.app
        .inOrder()
        .reverse()
        .find(entry => !entry.hidden && this.shows(entry, point)) ?? null
    );
  }

  private shows(entry: Entry, point: Point): boolean {
    const now = this.app.stand(entry);
    if (!now) return false;
    this.probe.resetTransform();
    this.probe.clearRect(0, 0, 1, 1);
    this.probe.setTransform(new DOMMatrix().translate(-point.x + 0.5, -point.y + 0.5).multiply(now.matrix));
    this.probe.drawImage(now.cut.image!, now.cut.x, now.cut.y, now.cut.w, now.cut.h);
    return this.probe.getImageData(0, 0, 1, 1).data[3] > SEEN;
  }

  private gripAt(point: Point): Grip["kind"] | null {
    const now = this.app.entry && !this.app.entry.hidden ? this.app.stand(this.app.entry) : null;
    if (now && far(point, this.turner(now)) * this.zoom < NEAR) return "turn";
    if (now && far(point, this.sizer(now)) * this.zoom < NEAR) return "size";
    const found = this.under(point);
    this.app.choose(found?.id ?? null);
    return found ? "move" : null;
  }

  private down(event: PointerEvent): void {
    if (!this.app.scene || event.button) return;
    this.handles.setPointerCapture(event.pointerId);
    const point = this.point(event);
    if (this.path) {
      this.began = event.timeStamp;
      this.path = [{ ...point, t: 0 }];
      return;
    }
    if (this.app.painting) {
      this.app.painting.begin(this.onFrame(point));
      this.app.changed();
      return;
    }
    const kind = this.gripAt(point),
      entry = this.app.entry,
      now = entry && this.app.stand(entry);
    if (!kind || !entry || !now) return;
    this.app.playing = false;
    const { translation, rotation, scale } = entry.motion;
    this.grip = { kind, from: point, centre: now.centre, translation: [...translation], rotation, scale };
    this.app.changed();
  }

  private move(event: PointerEvent): void {
    const point = this.point(event);
    if (this.path) {
      if (event.buttons && this.path.length) {
        this.path.push({ ...point, t: (event.timeStamp - this.began) / 1000 });
        this.soon();
      }
      return;
    }
    if (this.app.painting) {
      this.handles.style.cursor = "crosshair";
      if (event.buttons) {
        this.app.painting.go(this.onFrame(point));
        this.soon();
      }
      return;
    }
    if (!this.grip) {
      this.hover(this.app.scene ? this.under(point) : null);
      return;
    }
    const { kind, from, centre, translation, rotation, scale } = this.grip,
      view = this.app.view;
    const angle = (p: Point) => (Math.atan2(p.y - centre.y, p.x - centre.x) * 180) / Math.PI;
    this.app.changeChosen(({ motion }) => {
      if (kind === "move")
        motion.translation = [
          translation[0] + (2 * (point.x - from.x)) / view.x,
          translation[1] + (2 * (point.y - from.y)) / view.y,
        ];
      if (kind === "size") motion.scale = bounded((scale * far(point, centre)) / Math.max(far(from, centre), 1));
      if (kind === "turn") motion.rotation = wrapped(rotation + angle(point) - angle(from));
    }, false);
  }

  /** A point of the stage in the clip's own pixels. */
  private onFrame({ x, y }: Point): Point {
    const [width, height] = this.app.facts!.size,
      view = this.app.view;
    return { x: (x * width) / view.x, y: (y * height) / view.y };
  }

  private up(): void {
    if (this.app.painting) {
      this.app.painting.end();
      this.app.changed();
      return;
    }
    if (this.path && this.path.length > 2) {
      const points = this.path.map(({ x, y, t }) => [x, y, t] as [number, number, number]);
      this.path = [];
      this.onPath(points);
    }
    if (!this.grip) return;
    this.grip = null;
    this.app.commit();
    this.app.changed();
  }

  private hover(entry: Entry | null): void {
    this.handles.style.cursor = this.path ? "crosshair" : entry ? "grab" : "default";
    const id = entry?.id ?? null;
    if (id === this.app.hovered) return;
    this.app.hovered = id;
    this.soon();
  }
}

export const bounded = (scale: number) => Math.min(10, Math.max(0.05, scale));
export const wrapped = (degrees: number) => ((((degrees + 180) % 360) + 360) % 360) - 180;
const scheme = matchMedia("(prefers-color-scheme: dark)");
const readAccent = () => getComputedStyle(document.body).getPropertyValue("--accent");
let known = readAccent(); // asking for it in each picture would have the page's styles computed each time
scheme.addEventListener("change", () => (known = readAccent()));
const accent = () => known;
