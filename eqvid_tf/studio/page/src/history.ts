// Undo and redo without end: every state of the document, as text, which is small.

export class History<T> {
  private past: string[] = [];
  private coming: string[] = [];
  private now: string;

  constructor(public value: T) {
    this.now = JSON.stringify(value);
  }

  /** Take what `value` has become as a step of its own; false where nothing has changed. */
  commit(): boolean {
    const text = JSON.stringify(this.value);
    if (text === this.now) return false;
    this.past.push(this.now);
    this.now = text;
    this.coming = [];
    return true;
  }

  undo(): boolean {
    return this.step(this.past, this.coming);
  }
  redo(): boolean {
    return this.step(this.coming, this.past);
  }
  get canUndo(): boolean {
    return this.past.length > 0;
  }
  get canRedo(): boolean {
    return this.coming.length > 0;
  }

  private step(from: string[], to: string[]): boolean {
    const text = from.pop();
    if (text === undefined) return false;
    to.push(this.now);
    this.now = text;
    this.value = JSON.parse(text);
    return true;
  }
}
