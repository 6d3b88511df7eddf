const BAR_WIDTH = 30;
/** Where nobody watches, a line now and then shows that it goes on. */
const LINE_EVERY_MS = 10_000;

/** A bar on a terminal, a line every some seconds in a log. */
export class Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #total: number;
  readonly #startedAtMs = Date.now();
  #lineAtMs = 0;

  constructor(out: NodeJS.WriteStream, total: number) {
    this.#out = out;
    this.#total = total;
  }

  show(done: number, what: string): void {
    const seconds = (Date.now() - this.#startedAtMs) / 1_000;
    const text = `${done} of ${this.#total}, ${what}, ${Math.round(seconds)} s`;
    if (this.#out.isTTY) {
      const filled = Math.min(BAR_WIDTH, Math.round((done / this.#total) * BAR_WIDTH));
      this.#out.write(`\r\x1b[K${'█'.repeat(filled)}${'░'.repeat(BAR_WIDTH - filled)} ${text}`);
    } else if (Date.now() - this.#lineAtMs >= LINE_EVERY_MS) {
      this.#lineAtMs = Date.now();
      this.#out.write(`  ${text}\n`);
    }
  }

  /** A line that stays. */
  tell(line: string): void {
    this.#out.write(this.#out.isTTY ? `\r\x1b[K${line}\n` : `${line}\n`);
  }
}
