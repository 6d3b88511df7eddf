import { readFileSync } from 'node:fs';

/** One request to a real java-tron 4.8.0 and its answer. */
export type RecordedCase = {
  readonly name: string;
  readonly note?: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body: string | null;
  readonly status: number;
  readonly type: string;
  readonly answer: unknown;
};

const FILE = new URL('./java-tron-4.8.0.jsonl', import.meta.url);

/** All recorded cases, in the order in which they happened. */
export function readRecording(): readonly RecordedCase[] {
  return readFileSync(FILE, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RecordedCase);
}
