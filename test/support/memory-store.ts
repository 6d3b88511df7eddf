import type {
  CollectionName,
  Document,
  DocumentFilter,
  DocumentStore,
  DocumentUpdate,
  FilterCondition,
  FindOptions,
  GroupSum,
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
type Collections = Readonly<Record<CollectionName, Map<string, Fields>>>;

const FRESH_BREAKER = breakerDocument(NEW_BREAKER) as unknown as Fields;

/** The fields that not every payment has. What is absent is undefined here, so that all have one shape. */
const ABSENT = {
  settleAtMs: undefined,
  txIds: undefined,
  referenceKeys: undefined,
  isHeld: undefined,
  standsFor: undefined,
};

/** Two payments never share the values of both; and of the arrays they share no element. */
const UNIQUE_PAIR = ['caller', 'idempotencyKey'] as const;
const UNIQUE_ARRAYS = ['txIds', 'referenceKeys'] as const;

/**
 * Documents in memory that reads the very filters and updates which MongoDB reads in production, and refuses what
 * it does not know. Documents are never changed in place, so whoever holds one holds what was true then. What is
 * absent is undefined, so that documents keep their shape: that is what makes them quick to copy and to read.
 * `test/integration/ledger.test.ts` holds it to what the real database does.
 */
export class MemoryStore implements DocumentStore {
  readonly nowMs: () => number;
  readonly collections: Collections;
  /** How many changes took effect. */
  writes = 0;

  constructor(nowMs: () => number, collections?: Collections) {
    this.nowMs = nowMs;
    this.collections = collections ?? {
      payments: new Map(),
      breaker: new Map([[BREAKER_ID, FRESH_BREAKER]]),
    };
  }

  async serverTimeMs() {
    return this.nowMs();
  }

  async findOne<T extends Document>(name: CollectionName, filter: DocumentFilter) {
    return this.readOne<T>(name, filter);
  }

  async find<T extends Document>(name: CollectionName, filter: DocumentFilter, options?: FindOptions) {
    return this.read<T>(name, filter, options);
  }

  async sum(name: CollectionName, filter: DocumentFilter, by: string, fields: readonly string[]) {
    return this.addUp(name, filter, by, fields);
  }

  async updateOne(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate) {
    return this.changeOne(name, filter, update);
  }

  async updateMany(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate) {
    this.changeMany(name, filter, update);
  }

  async insertOne(name: CollectionName, document: Document) {
    return this.insert(name, document);
  }

  // The same at once, for whoever has waited already.

  readOne<T extends Document>(name: CollectionName, filter: DocumentFilter): T | null {
    return (this.#firstThatMatches(name, filter) ?? null) as T | null;
  }

  read<T extends Document>(name: CollectionName, filter: DocumentFilter, options: FindOptions = {}): T[] {
    const found = this.#candidates(name, filter).filter((document) => matches(document, filter));
    if (options.sort !== undefined && found.length > 1) {
      for (const [path, direction] of Object.entries(options.sort).reverse()) {
        found.sort((a, b) => direction * compare(valueAt(a, path), valueAt(b, path)));
      }
    }
    return found.slice(0, options.limit) as unknown as T[];
  }

  addUp(name: CollectionName, filter: DocumentFilter, by: string, fields: readonly string[]): GroupSum[] {
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

  changeOne(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate): boolean | 'duplicate' {
    const document = this.#firstThatMatches(name, filter);
    if (document === undefined) return false;
    const changed = updated(document, filter, update);
    if (name === 'payments' && claimsMore(document, changed) && this.#collides(changed)) return 'duplicate';
    this.collections[name].set(String(document._id), changed);
    this.writes += 1;
    return true;
  }

  changeMany(name: CollectionName, filter: DocumentFilter, update: DocumentUpdate): void {
    for (const document of this.#candidates(name, filter)) {
      if (!matches(document, filter)) continue;
      this.collections[name].set(String(document._id), updated(document, filter, update));
      this.writes += 1;
    }
  }

  insert(name: CollectionName, document: Document): 'inserted' | 'duplicate' {
    const fields: Fields = name === 'payments' ? { ...ABSENT, ...document } : { ...document };
    if (this.collections[name].has(document._id) || (name === 'payments' && this.#collides(fields))) {
      return 'duplicate';
    }
    this.collections[name].set(document._id, fields);
    this.writes += 1;
    return 'inserted';
  }

  /** Another store that holds the same for now. */
  copy(): MemoryStore {
    const { payments, breaker } = this.collections;
    return new MemoryStore(this.nowMs, { payments: new Map(payments), breaker: new Map(breaker) });
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
    this.collections.payments.set(document._id, { ...ABSENT, ...document });
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

  #firstThatMatches(name: CollectionName, filter: DocumentFilter): Fields | undefined {
    const id = filter._id;
    if (typeof id !== 'string') return this.#candidates(name, filter).find((each) => matches(each, filter));
    const document = this.collections[name].get(id);
    return document !== undefined && matches(document, filter) ? document : undefined;
  }

  #candidates(name: CollectionName, filter: DocumentFilter): Fields[] {
    const collection = this.collections[name];
    const id = filter._id;
    const ids = typeof id === 'string' ? [id] : (id as { $in?: readonly string[] } | undefined)?.$in;
    if (ids === undefined) return [...collection.values()];
    const found: Fields[] = [];
    for (const each of ids) {
      const document = collection.get(each);
      if (document !== undefined && !found.includes(document)) found.push(document);
    }
    return found;
  }

  #collides(changed: Fields): boolean {
    for (const other of this.collections.payments.values()) {
      if (other._id === changed._id) continue;
      if (UNIQUE_PAIR.every((field) => other[field] === changed[field])) return true;
      if (UNIQUE_ARRAYS.some((field) => shareAny(other[field], changed[field]))) return true;
    }
    return false;
  }
}

/** Whether an update gave a document a value that others might have. */
function claimsMore(before: Fields, after: Fields): boolean {
  const isOther = (field: string) => before[field] !== after[field];
  return UNIQUE_PAIR.some(isOther) || UNIQUE_ARRAYS.some(isOther);
}

/** Of two arrays, each of which may be absent. */
function shareAny(one: unknown, other: unknown): boolean {
  if (one === undefined || other === undefined) return false;
  return (one as readonly unknown[]).some((value) => (other as readonly unknown[]).includes(value));
}

function matches(document: Fields, filter: DocumentFilter): boolean {
  for (const path in filter) {
    const condition = filter[path] as FilterCondition;
    if (path === '$or') {
      const either = condition as unknown as readonly DocumentFilter[];
      if (!either.some((one) => matches(document, one))) return false;
    } else if (!meets(valueAt(document, path), condition)) return false;
  }
  return true;
}

/** @param value what stands at the path: an array's elements each may meet an equality; undefined means absent */
function meets(value: unknown, condition: FilterCondition): boolean {
  if (!isOperators(condition)) return holds(value, condition);
  for (const operator in condition) {
    if (!does(value, operator, condition[operator as keyof typeof condition])) return false;
  }
  return true;
}

function does(value: unknown, operator: string, operand: unknown): boolean {
  switch (operator) {
    case '$ne':
      return !holds(value, operand);
    case '$in':
      return holdsAny(value, operand as unknown[]);
    case '$nin':
      return !holdsAny(value, operand as unknown[]);
    case '$all':
      return (operand as unknown[]).every((one) => holds(value, one));
    case '$exists':
      return some(value, operand, isThere) === operand;
    case '$lt':
      return some(value, operand, isBelow);
    case '$lte':
      return some(value, operand, isAtMost);
    case '$gt':
      return some(value, operand, isAbove);
    default:
      throw new TypeError(`no such operator here: ${operator}`);
  }
}

const isThere: Comparison = (one) => one !== undefined;
const isBelow: Comparison = (one, operand) => isNumeric(one) && compare(one, operand) < 0;
const isAtMost: Comparison = (one, operand) => isNumeric(one) && compare(one, operand) <= 0;
const isAbove: Comparison = (one, operand) => isNumeric(one) && compare(one, operand) > 0;

type Comparison = (one: unknown, operand: unknown) => boolean;

function isOperators(
  condition: FilterCondition,
): condition is Exclude<FilterCondition, string | null> & object {
  return typeof condition === 'object' && condition !== null && !(condition instanceof Uint8Array);
}

function isNumeric(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** null means null or absent. */
function holds(value: unknown, wanted: unknown): boolean {
  if (!Array.isArray(value)) return value === wanted || (wanted === null && value === undefined);
  if (wanted !== null) return value.includes(wanted);
  return value.length === 0 || value.includes(null) || value.includes(undefined);
}

function holdsAny(value: unknown, wanted: readonly unknown[]): boolean {
  for (const one of wanted) if (holds(value, one)) return true;
  return false;
}

/** Of what stands at a path: the value, or of an array any element. */
function some(value: unknown, operand: unknown, is: Comparison): boolean {
  return Array.isArray(value) ? value.some((one) => is(one, operand)) : is(value, operand);
}

const paths = new Map<string, readonly string[]>();

/** The parts of a dotted path; there are few paths, asked for millions of times. */
function partsOf(path: string): readonly string[] {
  const known = paths.get(path);
  if (known !== undefined) return known;
  if (path.startsWith('$')) throw new TypeError(`no such operator here: ${path}`);
  const parts = path.split('.');
  paths.set(path, parts);
  return parts;
}

/** What stands at the rest of a path: where it leads through an array, what stands there in each element. */
function reach(start: unknown, parts: readonly string[], depth: number): unknown {
  let value = start;
  for (let at = depth; at < parts.length; at += 1) {
    if (typeof value !== 'object' || value === null) return undefined;
    const part = parts[at] ?? '';
    if (Array.isArray(value) && !isIndex(part)) {
      const reached: unknown[] = [];
      for (const element of value) {
        const one = reach(element, parts, at);
        if (Array.isArray(one)) reached.push(...one.filter(isThere));
        else if (one !== undefined) reached.push(one);
      }
      return reached;
    }
    value = (value as Fields)[part];
  }
  return value;
}

function isIndex(part: string): boolean {
  const first = part.charCodeAt(0);
  return first >= 48 && first <= 57;
}

function valueAt(document: Fields, path: string): unknown {
  // Most paths are a field's name, and need no taking apart.
  return document[path] ?? reach(document, partsOf(path), 0);
}

function compare(a: unknown, b: unknown): number {
  if (a === b) return 0;
  return (a as number) < (b as number) ? -1 : 1;
}

function updated(document: Fields, filter: DocumentFilter, update: DocumentUpdate): Fields {
  const result: Record<string, unknown> = { ...document };
  for (const operator in update) {
    const rule = RULES[operator];
    if (rule === undefined) throw new TypeError(`no such operator here: ${operator}`);
    const changes = update[operator as keyof DocumentUpdate] as Fields;
    for (const path in changes) {
      if (path in result) {
        result[path] = rule(result[path], changes[path]);
        continue;
      }
      const parts = positioned(document, filter, partsOf(path));
      const [field = ''] = parts;
      result[field] = changedAt(result[field], parts, 1, rule, changes[path]);
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
function positioned(document: Fields, filter: DocumentFilter, parts: readonly string[]): readonly string[] {
  if (parts[1] !== '$') return parts;
  const [array = '', , ...rest] = parts;
  const condition = Object.entries(filter).find(([path]) => path.startsWith(`${array}.`));
  if (condition === undefined) throw new TypeError(`nothing in the filter tells which of ${array}`);
  const [path, wanted] = condition;
  const index = (document[array] as Fields[]).findIndex((element) =>
    meets(reach(element, partsOf(path), 1), wanted as FilterCondition),
  );
  return [array, String(index), ...rest];
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
  fields[part] = changedAt(fields[part], path, depth + 1, rule, operand);
  return fields;
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
