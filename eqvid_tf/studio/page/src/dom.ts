// Small things for the page's elements.

export const $ = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;

/** An element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> & { label?: string } = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const { label, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  if (label) made.setAttribute("aria-label", label);
  made.append(...children);
  return made;
}

const keys = new WeakMap<Element, string>();

/** Fill an element anew where what it shows has changed: a list that is made anew loses the focus. */
export function fill(element: Element, key: unknown, children: () => (Node | string)[]): boolean {
  const text = JSON.stringify(key);
  if (keys.get(element) === text) return false;
  keys.set(element, text);
  const at = [...element.querySelectorAll("button, input, a")].indexOf(document.activeElement as HTMLElement);
  element.replaceChildren(...children());
  if (at >= 0) (element.querySelectorAll("button, input, a")[at] as HTMLElement | undefined)?.focus();
  return true;
}

export function text(element: HTMLElement, value: string): void {
  if (element.textContent !== value) element.textContent = value;
}

/** Put a number into a field that nobody is writing in. */
export function put(field: HTMLInputElement, value: number): void {
  if (document.activeElement !== field) field.value = String(value);
}

export function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function bytes(count: number): string {
  return count < 1e6 ? `${Math.max(1, Math.round(count / 1e3))} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** Let the buttons named `close` of a dialog close it. */
export function closable(dialog: HTMLDialogElement): HTMLDialogElement {
  dialog.querySelector<HTMLElement>(".close")?.addEventListener("click", () => dialog.close());
  return dialog;
}
