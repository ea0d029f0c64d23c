// Where a character of a scene is drawn, as `eqvid_tf.rendering.scene` places it: about its own centre.

import { Cut, Layers } from "./layers";
import { Affine, Entry, Performed, Point, Scene } from "./types";

/** The frame of a clip that a picture of the scene shows: the clip goes on in its own time, to and fro. */
export function sourceFrame(picture: number, count: number, fps: number, rate: number): number {
  if (count < 2) return 0;
  const at = Math.floor(picture * (fps / rate) + 0.5) % (2 * (count - 1));
  return Math.min(at, 2 * (count - 1) - at);
}

export interface Stand {
  cut: Cut;
  matrix: DOMMatrix;
  centre: Point;
  index: number;
}

/** The cut-out that an entry shows in a picture, the matrix that draws it, and its centre, in pixels of the stage. */
export function stand(
  entry: Entry,
  scene: Scene,
  layers: Layers,
  performed: Performed | undefined,
  picture: number,
  view: DOMPoint,
): Stand | null {
  const { info } = layers,
    [width, height] = info.shown;
  const playing = entry.template ? performed : undefined;
  const free = entry.play ? sourceFrame(picture, info.count, info.fps, scene.rate) : (entry.frame ?? 0);
  const time = playing ? Math.min(picture, playing.order.length - 1) : 0;
  const index = playing ? playing.order[time] : free;
  const cut = layers.frames.get(index)?.characters[String(entry.character)];
  if (!cut || !cut.image) return null;
  const own = playing ? pixels(playing.centre, width, height) : { x: cut.cx, y: cut.cy };
  const [x, y] = entry.motion.translation;
  const centre = { x: (own.x / width + x / 2) * view.x, y: (own.y / height + y / 2) * view.y };
  const grown = (entry.motion.scale * view.y) / height;
  const matrix = new DOMMatrix().translateSelf(centre.x, centre.y);
  if (playing) matrix.multiplySelf(posed(playing.poses[Math.min(picture, playing.poses.length - 1)], view.y / 2));
  const now = matrix.transformPoint({ x: 0, y: 0 });
  matrix.rotateSelf(entry.motion.rotation).scaleSelf(grown).translateSelf(-own.x, -own.y);
  if (playing) matrix.multiplySelf(inPixels(playing.home[String(index)], width, height));
  return { cut, matrix, centre: { x: now.x, y: now.y }, index };
}

export function posed([[a, c, x], [b, d, y]]: Affine, unit: number): DOMMatrix {
  return new DOMMatrix([a, b, c, d, x * unit, y * unit]);
}

/** A motion in normalized coordinates as one in pixels. */
function inPixels([[a, c, x], [b, d, y]]: Affine, width: number, height: number): DOMMatrix {
  const from = new DOMMatrix().translateSelf(width / 2, height / 2).scaleSelf(width / 2, height / 2);
  return from.multiply(new DOMMatrix([a, b, c, d, x, y])).multiply(from.inverse());
}

function pixels([x, y]: [number, number], width: number, height: number): Point {
  return { x: ((x + 1) / 2) * width, y: ((y + 1) / 2) * height };
}

export function corners({ cut, matrix }: Stand): Point[] {
  const { x, y, w, h } = cut;
  return [
    [x, y],
    [x + w, y],
    [x + w, y + h],
    [x, y + h],
  ].map(([px, py]) => matrix.transformPoint({ x: px, y: py }));
}

export const far = (p: Point, q: Point) => Math.hypot(p.x - q.x, p.y - q.y);

/** Draw a picture so that it covers the whole view; what is too much is cut off on both sides. */
export function cover(context: CanvasRenderingContext2D, image: ImageBitmap, width: number, height: number): void {
  const grown = Math.max(width / image.width, height / image.height);
  const [w, h] = [image.width * grown, image.height * grown];
  context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
}
