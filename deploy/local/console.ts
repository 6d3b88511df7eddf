/**
 * What a person sees: one line a step, with its outcome and how long it took. On a terminal the step that runs
 * shows its progress in place; elsewhere (a CI log, a pipe) a step that lasts says so from time to time.
 */
import { styleText } from 'node:util';

/** How often a step that lasts says so where lines cannot be redrawn. */
const STILL_EVERY_MS = 10_000;
const FRAME_EVERY_MS = 100;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const NAME_WIDTH = 11;

/** A step under way may tell what it is busy with. */
export type Progress = (detail: string) => void;

type Step = { readonly name: string; readonly startedAtMs: number; detail: string };

export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

export class Console {
  readonly #out: Output;
  readonly #live: boolean;
  readonly #steps = new Set<Step>();
  #frame = 0;
  #drawn = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(out: Output) {
    this.#out = out;
    this.#live = out.isTTY === true && process.env.TERM !== 'dumb';
    // Nobody may be reading any more (`npm start | head`); the stack must still be stopped in good order.
    out.on('error', () => {});
  }

  /** Shows a step from its start to its end; `work` answers what to say of its outcome. */
  async step<T>(
    name: string,
    work: (progress: Progress) => Promise<T>,
    describe: (value: T) => string,
  ): Promise<T> {
    const step: Step = { name, startedAtMs: performance.now(), detail: '' };
    this.#steps.add(step);
    this.#tick();
    try {
      const value = await work((detail) => {
        step.detail = detail;
        if (!this.#live) this.#print(`  … ${pad(name)}${detail}`);
      });
      this.#close(step, 'green', '✔', describe(value));
      return value;
    } catch (error) {
      this.#close(step, 'red', '✘', 'failed');
      throw error;
    }
  }

  line(text = ''): void {
    this.#print(text);
  }

  heading(text: string): void {
    this.#print(styleText('bold', text, { stream: this.#stream }));
  }

  success(text: string): void {
    this.#print(styleText('green', text, { stream: this.#stream }));
  }

  warn(text: string): void {
    this.#print(styleText('yellow', text, { stream: this.#stream }));
  }

  error(text: string): void {
    this.#print(styleText('red', text, { stream: this.#stream }));
  }

  dim(text: string): void {
    this.#print(styleText('dim', text, { stream: this.#stream }));
  }

  #close(step: Step, color: 'green' | 'red', mark: string, text: string): void {
    this.#steps.delete(step);
    const took = `${((performance.now() - step.startedAtMs) / 1000).toFixed(1)} s`;
    const sign = styleText(color, mark, { stream: this.#stream });
    this.#print(`  ${sign} ${pad(step.name)}${text}  ${styleText('dim', took, { stream: this.#stream })}`);
    this.#tick();
  }

  #print(text: string): void {
    this.#erase();
    this.#out.write(`${text}\n`);
    this.#draw();
  }

  /** Runs the timer as long as there are steps under way. */
  #tick(): void {
    if (this.#steps.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      return;
    }
    this.#timer ??= this.#live
      ? setInterval(() => {
          this.#frame += 1;
          this.#erase();
          this.#draw();
        }, FRAME_EVERY_MS)
      : setInterval(() => {
          for (const step of this.#steps) this.#print(`  … ${pad(step.name)}${describeWait(step)}`);
        }, STILL_EVERY_MS);
    this.#timer.unref();
  }

  #erase(): void {
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A\x1b[J`);
    this.#drawn = 0;
  }

  #draw(): void {
    if (!this.#live) return;
    const width = (this.#out.columns ?? 80) - 1;
    for (const step of this.#steps) {
      const frame = FRAMES[this.#frame % FRAMES.length];
      // A line that wrapped would count as two, and the next erasure would miss one.
      this.#out.write(`${`  ${frame} ${pad(step.name)}${describeWait(step)}`.slice(0, width)}\n`);
      this.#drawn += 1;
    }
  }

  get #stream() {
    return this.#out as NodeJS.WriteStream;
  }
}

function describeWait(step: Step): string {
  return `${step.detail}${step.detail === '' ? '' : ' · '}${((performance.now() - step.startedAtMs) / 1000).toFixed(0)} s`;
}

function pad(name: string): string {
  return name.padEnd(NAME_WIDTH + 1);
}
