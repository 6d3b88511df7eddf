import type {
  CollectionName,
  Document,
  DocumentFilter,
  DocumentStore,
  DocumentUpdate,
  FilterCondition,
  FindOptions,
  Value,
} from '../../shared/adapters/mongo/document-store.ts';
import {
  AUDIT_ID,
  type AuditDocument,
  auditFrom,
  type BatchDocument,
  BREAKER_ID,
  type BreakerDocument,
  batchFrom,
  breakerDocument,
  breakerFrom,
  isBatchDocument,
  type PaymentDocument,
  paymentDocument,
  paymentFrom,
} from '../../shared/adapters/mongo/documents.ts';
import { type AuditRecord, NEW_AUDIT } from '../../shared/domain/audit.ts';
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

/** Where those values come from. */
const UNIQUE_FIELDS = ['caller', 'idempotencyKey', 'txIds', 'referenceKeys'] as const;

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

  async sum(name: CollectionName, filter: DocumentFilter, by: string, fields: readonly string[]) {
    const groups = new Map<Value, Record<string, bigint>>();
    for (const document of this.#candidates(name, filter)) {
      if (!matches(document, filter)) continue;
      const of = valueAt(document, by) as Value;
      const sums = groups.get(of) ?? Object.fromEntries(fields.map((field) => [field, 0n]));
      for (const field of fields) sums[field] = (sums[field] ?? 0n) + (valueAt(document, field) as bigint);
      groups.set(of, sums);
    }
    return [...groups].map(([of, sums]) => ({ of, sums }));
  }

  async updateOne(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate) {
    for (const document of this.#candidates(name, filter)) {
      if (!matches(document, filter)) continue;
      const changed = updated(document, filter, update);
      if (name === 'payments' && claimsMore(document, changed) && this.#collides(changed)) {
        return 'duplicate' as const;
      }
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

  /** Another store that holds the same for now. */
  copy(): MemoryStore {
    const copy = new MemoryStore(this.nowMs);
    for (const name of ['payments', 'breaker'] as const) {
      copy.collections[name].clear();
      for (const [id, document] of this.collections[name]) copy.collections[name].set(id, document);
    }
    return copy;
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

  /** Puts a payment there as it is, whatever stands beside it. */
  put(payment: Payment): void {
    const document = paymentDocument(payment, true);
    this.collections.payments.set(document._id, document as unknown as Fields);
  }

  /** What audits remember. */
  get audit(): AuditRecord {
    const document = this.collections.breaker.get(AUDIT_ID);
    return document === undefined ? NEW_AUDIT : auditFrom(document as unknown as AuditDocument);
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
    const ids = typeof id === 'string' ? [id] : (id as { $in?: readonly string[] } | undefined)?.$in;
    if (ids === undefined) {
      yield* collection.values();
      return;
    }
    for (const each of new Set(ids)) {
      const document = collection.get(each);
      if (document !== undefined) yield document;
    }
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

/** Whether an update gave a document a value that others might have. */
function claimsMore(before: Fields, after: Fields): boolean {
  return UNIQUE_FIELDS.some((field) => before[field] !== after[field]);
}

function matches(document: Fields, filter: DocumentFilter): boolean {
  for (const path in filter) {
    const condition = filter[path] as FilterCondition;
    if (path.startsWith('$')) {
      if (path !== '$or') throw new TypeError(`no such operator here: ${path}`);
      const either = condition as unknown as readonly DocumentFilter[];
      if (!either.some((one) => matches(document, one))) return false;
    } else if (!meets(valuesAt(document, path), condition)) return false;
  }
  return true;
}

/** @param values what stands at the path: of an array its elements, each of which may meet an equality */
function meets(values: readonly unknown[], condition: FilterCondition): boolean {
  if (!isOperators(condition)) return holds(values, condition);
  for (const operator in condition) {
    if (!does(values, operator, condition[operator as keyof typeof condition])) return false;
  }
  return true;
}

function does(values: readonly unknown[], operator: string, operand: unknown): boolean {
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

const paths = new Map<string, readonly string[]>();

/** The parts of a dotted path; there are few paths, asked for millions of times. */
function partsOf(path: string): readonly string[] {
  const known = paths.get(path);
  if (known !== undefined) return known;
  const parts = path.split('.');
  paths.set(path, parts);
  return parts;
}

function valuesAt(document: Fields, path: string): readonly unknown[] {
  const parts = partsOf(path);
  if (parts.length === 1) {
    const value = document[path];
    if (Array.isArray(value)) return value;
    return value === undefined ? [] : [value];
  }
  let reached: unknown[] = [document];
  for (const part of parts) {
    const next: unknown[] = [];
    for (const value of reached) {
      if (!Array.isArray(value)) next.push(...childOf(value, part));
      else if (/^\d+$/.test(part)) next.push(...(part in value ? [value[Number(part)]] : []));
      else for (const element of value) next.push(...childOf(element, part));
    }
    reached = next;
  }
  return reached.length === 1 && Array.isArray(reached[0]) ? reached[0] : reached.flat();
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
  let result: Record<string, unknown> = { ...document };
  for (const [operator, changes] of Object.entries(update)) {
    const rule = RULES[operator];
    if (rule === undefined) throw new TypeError(`no such operator here: ${operator}`);
    for (const path in changes as Fields) {
      const operand = (changes as Fields)[path];
      const parts = partsOf(positioned(document, filter, path));
      const [field = ''] = parts;
      const value =
        parts.length === 1 ? rule(result[field], operand) : changedAt(result[field], parts, 1, rule, operand);
      if (value === undefined) result = without(result, field);
      else result[field] = value;
    }
  }
  return result;
}

type Rule = (value: unknown, operand: unknown) => unknown;

/** What each operator makes of the value at a path; undefined means that nothing is left there. */
const RULES: Readonly<Record<string, Rule>> = {
  $set: (_, operand) => operand,
  $unset: () => undefined,
  $inc: (value, operand) => ((value as bigint | undefined) ?? 0n) + (operand as bigint),
  $push: (value, operand) => pushed((value as unknown[] | undefined) ?? [], operand),
  $addToSet: (value, operand) => {
    const array = (value as unknown[] | undefined) ?? [];
    return array.includes(operand) ? array : [...array, operand];
  },
  $pull: (value, operand) => pulled((value as { id: string }[] | undefined) ?? [], operand),
};

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

/** A copy of a nested value with one part of it changed. @param depth how much of the path leads here */
function changedAt(
  value: unknown,
  path: readonly string[],
  depth: number,
  rule: Rule,
  operand: unknown,
): unknown {
  const part = path[depth];
  if (part === undefined) return rule(value, operand);
  if (Array.isArray(value)) {
    const index = Number(part);
    return value.with(index, changedAt(value[index], path, depth + 1, rule, operand));
  }
  const fields: Record<string, unknown> = { ...(value as Fields | undefined) };
  const next = changedAt(fields[part], path, depth + 1, rule, operand);
  if (next === undefined) return without(fields, part);
  fields[part] = next;
  return fields;
}

/** A deletion in place would slow down every later read of the object. */
function without(fields: Fields, field: string): Record<string, unknown> {
  const { [field]: _gone, ...others } = fields;
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
