import {
  type BatchDocument,
  BREAKER_ID,
  type BreakerDocument,
  isBatchDocument,
  type PaymentDocument,
} from '../../shared/adapters/mongo/documents.ts';

/** A document as it is stored, of either collection. */
export type Stored = PaymentDocument | BatchDocument | BreakerDocument;

/**
 * Every document that was ever seen, once each, under a small number: two worlds are equal where their numbers are.
 * Documents are kept in a plain form, without what only people read, so that worlds which differ in nothing that
 * any rule looks at are one.
 */
export class Shelf {
  readonly #documents: Stored[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #known = new WeakMap<object, number>();
  readonly #unowned = new Map<number, number>();

  get size(): number {
    return this.#documents.length;
  }

  at(number: number): Stored {
    const document = this.#documents[number];
    if (document === undefined) throw new RangeError(`no document ${number}`);
    return document;
  }

  /** The number of a document; of one that was taken from here at no cost. */
  numberOf(document: object): number {
    const known = this.#known.get(document);
    if (known !== undefined) return known;
    const plain = plainForm(document as Stored);
    const text = textOf(plain);
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#documents.length;
      this.#documents.push(plain);
      this.#numbers.set(text, number);
      this.#known.set(plain, number);
    }
    return number;
  }

  /** The same document without the name of a run that has ended: nobody will ever compare it again. */
  unowned(number: number, isRunning: (owner: string) => boolean): number {
    const document = this.at(number);
    if (!('leaseOwner' in document) || document.leaseOwner === null) return number;
    if (isRunning(document.leaseOwner)) return number;
    let bare = this.#unowned.get(number);
    if (bare === undefined) {
      bare = this.numberOf({ ...document, leaseOwner: null });
      this.#unowned.set(number, bare);
    }
    return bare;
  }
}

export function isBreaker(document: Stored): document is BreakerDocument {
  return document._id === BREAKER_ID;
}

function plainForm(document: Stored): Stored {
  if (isBreaker(document)) {
    // The count of pushes is compared by the audit alone, which reads the same document twice.
    const pause = document.pause === null ? null : { ...document.pause, atMs: 0 };
    return { ...document, pushes: 0n, pause };
  }
  if (isBatchDocument(document)) return { ...document, reason: null };
  const isRuling = ({ event }: { event: string }) => event === 'resolved';
  return {
    ...document,
    reason: null,
    history: document.history
      .filter(isRuling)
      .slice(0, 1)
      .map(({ event }) => ({ atMs: 0, event, detail: '' })),
    attempts: document.attempts.map((attempt) => ({ ...attempt, answers: [], signedAtMs: 0 })),
    // Models send again at every visit, so the time of the last sending decides nothing.
    lastBroadcastAtMs: null,
  };
}

/** A text that is equal for equal values, whatever the order of their fields. */
export function textOf(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'bigint':
      return `${value}n`;
    case 'object':
      break;
    default:
      return String(value);
  }
  if (value === null) return 'null';
  if (value instanceof Uint8Array) return `x${Buffer.from(value).toString('base64')}`;
  if (Array.isArray(value)) return `[${value.map(textOf).join()}]`;
  const fields = value as Record<string, unknown>;
  return `{${Object.keys(fields)
    .filter((name) => fields[name] !== undefined)
    .sort()
    .map((name) => `${name}:${textOf(fields[name])}`)
    .join()}}`;
}
