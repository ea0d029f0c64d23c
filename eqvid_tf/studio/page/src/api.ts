// Talking to the server: every address is below that of the page, which holds the token.

const OUTLIVES = 60_000; // characters of a request that a browser sends to its end though the page is closed

export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const part = (name: string | number) => encodeURIComponent(String(name));

export function at(pieces: TemplateStringsArray, ...values: (string | number)[]): string {
  return pieces.reduce((text, piece, k) => text + part(values[k - 1]) + piece);
}

async function answer(address: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new Refused("The studio does not answer. Is eqvid studio still running? What was saved is kept.", 0);
  }
  if (response.ok) return response;
  const text = await response.text();
  let said = text;
  try {
    said = JSON.parse(text).error ?? text;
  } catch {
    /* it is no JSON: the text itself */
  }
  throw new Refused(said || response.statusText, response.status);
}

export async function get<T>(address: string): Promise<T> {
  return (await answer(address, {})).json();
}

export async function send<T>(address: string, body: unknown, method = "POST", signal?: AbortSignal): Promise<T> {
  const text = JSON.stringify(body),
    keepalive = method === "PUT" && text.length < OUTLIVES;
  return (await answer(address, { method, body: text, signal, keepalive })).json();
}

export async function picture(address: string, body: unknown, signal: AbortSignal): Promise<ImageBitmap> {
  const response = await answer(address, { method: "POST", body: JSON.stringify(body), signal });
  return createImageBitmap(await response.blob());
}

export async function forget(address: string): Promise<void> {
  await answer(address, { method: "DELETE" });
}

export async function upload(file: File): Promise<{ clip: string | null; picture: string | null }> {
  return (await answer(at`uploads/${file.name}`, { method: "PUT", body: file })).json();
}

export async function bitmap(address: string): Promise<ImageBitmap | null> {
  if (!address) return null;
  const image = new Image();
  image.src = address;
  await image.decode();
  return createImageBitmap(image);
}
