import type {
  CollectionName,
  Document,
  DocumentFilter,
  DocumentStore,
  DocumentUpdate,
  FilterCondition,
  FindOptions,
} from '../../shared/adapters/mongo/document-store.ts';
import {
  type BatchDocument,
  BREAKER_ID,
  type BreakerDocument,
  batchFrom,
  breakerDocument,
  breakerFrom,
  isBatchDocument,
  type PaymentDocument,
  paymentFrom,
} from '../../shared/adapters/mongo/documents.ts';
import type { Batch } from '../../shared/domain/batch.ts';
import { type Breaker, NEW_BREAKER } from '../../shared/domain/breaker.ts';
import type { Payment } from '../../shared/domain/payment.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Fields whose values no two payments may share; of an array each element. */
const UNIQUE: readonly ((document: Fields) => readonly string[])[] = [
  ({ caller, idempotencyKey }) => [`key ${String(caller)} ${String(idempotencyKey)}`],
  ({ txIds }) => ((txIds ?? []) as string[]).map((id) => `tx ${id}`),
  ({ referenceKeys }) => ((referenceKeys ?? []) as string[]).map((key) => `reference ${key}`),
];

/**
 * Documents in memory that reads the very filters and updates which MongoDB reads in production, and refuses what
 * it does not know. Documents are never changed in place, so whoever holds one holds what was true then.
 * `test/integration/ledger.test.ts` holds it to what the real database does.
 */
export class MemoryStore implements DocumentStore {
  readonly nowMs: () => number;
  readonly collections: Readonly<Record<CollectionName, Map<string, Fields>>> = {
    payments: new Map(),
    breaker: new Map([[BREAKER_ID, breakerDocument(NEW_BREAKER) as unknown as Fields]]),
  };
  /** How many changes took effect. */
  writes = 0;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  async serverTimeMs() {
    return this.nowMs();
  }

  async findOne<T extends Document>(name: CollectionName, filter: DocumentFilter): Promise<T | null> {
    for (const document of this.#candidates(name, filter)) {
      if (matches(document, filter)) return document as unknown as T;
    }
    return null;
  }

  async find<T extends Document>(
    name: CollectionName,
    filter: DocumentFilter,
    options: FindOptions = {},
  ): Promise<T[]> {
    const found = [...this.#candidates(name, filter)].filter((document) => matches(document, filter));
    for (const [path, direction] of Object.entries(options.sort ?? {}).reverse()) {
      found.sort((a, b) => direction * compare(valueAt(a, path), valueAt(b, path)));
    }
    return found.slice(0, options.limit) as unknown as T[];
  }

  async updateOne(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate) {
    for (const document of this.#candidates(name, filter)) {
      if (!matches(document, filter)) continue;
      const changed = updated(document, filter, update);
      if (name === 'payments' && this.#collides(changed)) return 'duplicate' as const;
      this.collections[name].set(String(document._id), changed);
      this.writes += 1;
      return true;
    }
    return false;
  }

  async updateMany(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate) {
    for (const document of [...this.#candidates(name, filter)]) {
      if (!matches(document, filter)) continue;
      this.collections[name].set(String(document._id), updated(document, filter, update));
      this.writes += 1;
    }
  }

  async insertOne(name: CollectionName, document: Document) {
    const fields = document as unknown as Fields;
    if (this.collections[name].has(document._id) || (name === 'payments' && this.#collides(fields))) {
      return 'duplicate' as const;
    }
    this.collections[name].set(document._id, fields);
    this.writes += 1;
    return 'inserted' as const;
  }

  payments(): Payment[] {
    return [...this.collections.payments.values()].flatMap((document) => {
      const stored = document as unknown as PaymentDocument | BatchDocument;
      return isBatchDocument(stored) ? [] : [paymentFrom(stored)];
    });
  }

  batches(): Batch[] {
    return [...this.collections.payments.values()].flatMap((document) => {
      const stored = document as unknown as PaymentDocument | BatchDocument;
      return isBatchDocument(stored) ? [batchFrom(stored)] : [];
    });
  }

  get breaker(): Breaker {
    return breakerFrom(this.collections.breaker.get(BREAKER_ID) as unknown as BreakerDocument);
  }

  set breaker(breaker: Breaker) {
    this.collections.breaker.set(BREAKER_ID, breakerDocument(breaker) as unknown as Fields);
  }

  /** Sets fields of a payment as no rule would: a test's own beginning. */
  alter(paymentId: string, fields: Partial<PaymentDocument>): void {
    const document = this.collections.payments.get(paymentId);
    if (document === undefined) throw new Error(`there is no ${paymentId}`);
    this.collections.payments.set(paymentId, { ...document, ...fields });
  }

  *#candidates(name: CollectionName, filter: DocumentFilter): Iterable<Fields> {
    const collection = this.collections[name];
    const id = filter._id;
    if (typeof id === 'string') {
      const document = collection.get(id);
      if (document !== undefined) yield document;
    } else yield* collection.values();
  }

  #collides(changed: Fields): boolean {
    const taken = new Set(UNIQUE.flatMap((valuesOf) => valuesOf(changed)));
    for (const other of this.collections.payments.values()) {
      if (other._id === changed._id) continue;
      if (UNIQUE.some((valuesOf) => valuesOf(other).some((value) => taken.has(value)))) return true;
    }
    return false;
  }
}

function matches(document: Fields, filter: DocumentFilter): boolean {
  return Object.entries(filter).every(([path, condition]) => {
    if (path === '$or') return (condition as readonly DocumentFilter[]).some((one) => matches(document, one));
    if (path.startsWith('$')) throw new TypeError(`no such operator here: ${path}`);
    return meets(valuesAt(document, path), condition as FilterCondition);
  });
}

/** @param values what stands at the path: of an array its elements, each of which may meet an equality */
function meets(values: readonly unknown[], condition: FilterCondition): boolean {
  if (!isOperators(condition)) return holds(values, condition);
  return Object.entries(condition).every(([operator, operand]) => {
    switch (operator) {
      case '$ne':
        return !holds(values, operand);
      case '$in':
        return (operand as unknown[]).some((value) => holds(values, value));
      case '$nin':
        return !(operand as unknown[]).some((value) => holds(values, value));
      case '$all':
        return (operand as unknown[]).every((value) => holds(values, value));
      case '$exists':
        return values.some((value) => value !== undefined) === operand;
      case '$lt':
        return values.some((value) => isNumeric(value) && compare(value, operand) < 0);
      case '$lte':
        return values.some((value) => isNumeric(value) && compare(value, operand) <= 0);
      case '$gt':
        return values.some((value) => isNumeric(value) && compare(value, operand) > 0);
      default:
        throw new TypeError(`no such operator here: ${operator}`);
    }
  });
}

function isOperators(
  condition: FilterCondition,
): condition is Exclude<FilterCondition, string | null> & object {
  return typeof condition === 'object' && condition !== null && !(condition instanceof Uint8Array);
}

function isNumeric(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** null means null or absent. */
function holds(values: readonly unknown[], wanted: unknown): boolean {
  if (wanted === null)
    return values.length === 0 || values.some((value) => value === null || value === undefined);
  return values.some((value) => value === wanted);
}

function valuesAt(document: Fields, path: string): readonly unknown[] {
  let reached: unknown[] = [document];
  for (const part of path.split('.')) {
    reached = reached.flatMap((value): unknown[] => {
      if (Array.isArray(value)) {
        if (/^\d+$/.test(part)) return part in value ? [value[Number(part)]] : [];
        return value.flatMap((element) => childOf(element, part));
      }
      return childOf(value, part);
    });
  }
  return reached.flatMap((value) => (Array.isArray(value) ? value : [value]));
}

function childOf(value: unknown, part: string): unknown[] {
  if (typeof value !== 'object' || value === null || !(part in value)) return [];
  return [(value as Fields)[part]];
}

function valueAt(document: Fields, path: string): unknown {
  return path.split('.').reduce<unknown>((value, part) => (value as Fields | undefined)?.[part], document);
}

function compare(a: unknown, b: unknown): number {
  if (a === b) return 0;
  return (a as number) < (b as number) ? -1 : 1;
}

function updated(document: Fields, filter: DocumentFilter, update: DocumentUpdate): Fields {
  let result = document;
  const change = (path: string, rule: (value: unknown) => unknown) => {
    result = changedAt(result, positioned(document, filter, path).split('.'), rule) as Fields;
  };
  for (const [operator, changes] of Object.entries(update)) {
    for (const [path, operand] of Object.entries(changes as Fields)) {
      switch (operator) {
        case '$set':
          change(path, () => operand);
          break;
        case '$unset':
          change(path, () => undefined);
          break;
        case '$inc':
          change(path, (value) => ((value as bigint | undefined) ?? 0n) + (operand as bigint));
          break;
        case '$push':
          change(path, (value) => pushed((value as unknown[] | undefined) ?? [], operand));
          break;
        case '$addToSet':
          change(path, (value) => {
            const array = (value as unknown[] | undefined) ?? [];
            return array.includes(operand) ? array : [...array, operand];
          });
          break;
        case '$pull':
          change(path, (value) => pulled((value as { id: string }[] | undefined) ?? [], operand));
          break;
        default:
          throw new TypeError(`no such operator here: ${operator}`);
      }
    }
  }
  return result;
}

/** `attempts.$.x` means the first element that the filter's condition on `attempts.…` matched. */
function positioned(document: Fields, filter: DocumentFilter, path: string): string {
  if (!path.includes('.$.')) return path;
  const [array = '', rest = ''] = path.split('.$.');
  const condition = Object.entries(filter).find(([key]) => key.startsWith(`${array}.`));
  if (condition === undefined) throw new TypeError(`nothing in the filter tells which of ${array}`);
  const [key, wanted] = condition;
  const field = key.slice(array.length + 1);
  const index = (document[array] as Fields[]).findIndex((element) =>
    meets(childOf(element, field), wanted as FilterCondition),
  );
  return `${array}.${index}.${rest}`;
}

function changedAt(value: unknown, path: readonly string[], rule: (value: unknown) => unknown): unknown {
  const [part, ...rest] = path;
  if (part === undefined) return rule(value);
  if (Array.isArray(value)) {
    const index = Number(part);
    return value.with(index, changedAt(value[index], rest, rule));
  }
  const fields = (value ?? {}) as Fields;
  const next = changedAt(fields[part], rest, rule);
  if (next !== undefined) return { ...fields, [part]: next };
  const { [part]: _gone, ...others } = fields;
  return others;
}

function pushed(array: readonly unknown[], operand: unknown): unknown[] {
  if (typeof operand === 'object' && operand !== null && '$each' in operand) {
    const { $each, $slice } = operand as { $each: unknown[]; $slice?: number };
    const all = [...array, ...$each];
    return $slice === undefined ? all : all.slice($slice);
  }
  return [...array, operand];
}

function pulled(array: readonly { id: string }[], operand: unknown): unknown[] {
  const { id } = operand as { id: string | { $in: string[] } };
  return array.filter((element) =>
    typeof id === 'string' ? element.id !== id : !id.$in.includes(element.id),
  );
}
