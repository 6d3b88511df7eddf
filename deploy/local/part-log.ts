/**
 * One log file a part, bounded in size, with its last lines at hand for the report of a crash.
 */
import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** How many lines a crash report can quote. */
const LINES_KEPT = 40;
/** A file that has grown past this is renamed to `….1`, replacing the one before. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;

export class PartLog {
  readonly path: string;
  readonly #last: string[] = [];
  readonly #onLine: (line: string) => void;
  /** Undefined once closed: a pipe may still bring a last line. */
  #fd: number | undefined;
  #bytes: number;

  /** @param onLine sees each line as well; `--verbose` prints it. */
  constructor(path: string, onLine: (line: string) => void = () => {}) {
    this.path = path;
    this.#onLine = onLine;
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = openSync(path, 'a');
    this.#bytes = statSync(path).size;
  }

  /** Written at once, so that the last words of a part are on disk when the next thing goes wrong. */
  write(line: string): void {
    this.#last.push(line);
    if (this.#last.length > LINES_KEPT) this.#last.shift();
    this.#onLine(line);
    if (this.#fd === undefined) return;
    if (this.#bytes > FILE_BYTES_MAX) this.#rotate(this.#fd);
    try {
      this.#bytes += writeSync(this.#fd, `${line}\n`);
    } catch {
      // A full disk must not end the supervisor; the database will say what is wrong.
    }
  }

  /** The last lines, oldest first. */
  tail(count: number): readonly string[] {
    return this.#last.slice(-count);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #rotate(fd: number): void {
    closeSync(fd);
    renameSync(this.path, `${this.path}.1`);
    this.#fd = openSync(this.path, 'a');
    this.#bytes = 0;
  }
}
