/**
 * The few things that the ledger asks of a database, each on documents of one collection. MongoDB does them in
 * production; a store in memory that reads the very same filters and updates does them where a million lives are
 * simulated. What is written here is all that both understand.
 */
export interface DocumentStore {
  /** The database server's clock, milliseconds since 1970. */
  serverTimeMs(): Promise<number>;

  findOne<T extends Document>(
    collection: CollectionName,
    filter: DocumentFilter,
    options?: Pick<FindOptions, 'only'>,
  ): Promise<T | null>;
  find<T extends Document>(
    collection: CollectionName,
    filter: DocumentFilter,
    options?: FindOptions,
  ): Promise<T[]>;

  /** Sums integer fields of the matching documents, by the value of one field. */
  sum(
    collection: CollectionName,
    filter: DocumentFilter,
    by: string,
    fields: readonly string[],
  ): Promise<GroupSum[]>;

  /** @returns whether a document matched; 'duplicate' where a unique index has it already: nothing was changed */
  updateOne(
    collection: CollectionName,
    filter: DocumentFilter,
    update: DocumentUpdate,
  ): Promise<boolean | 'duplicate'>;

  /** Changes each matching document by itself. */
  updateMany(collection: CollectionName, filter: DocumentFilter, update: DocumentUpdate): Promise<void>;

  /** @returns 'duplicate' where a unique index has it already: nothing was stored */
  insertOne(collection: CollectionName, document: Document): Promise<'inserted' | 'duplicate'>;
}

export type CollectionName = 'payments' | 'breaker';

export interface Document {
  readonly _id: string;
}

/**
 * Fields by dotted path. A bare value means equality (with an array field: that it holds the value); null means
 * null or absent. `$or` of filters may stand beside fields.
 */
export interface DocumentFilter {
  readonly [path: string]: FilterCondition | readonly DocumentFilter[];
}

export type Value = string | number | bigint | boolean | null | Uint8Array;

export type FilterCondition =
  | Value
  | {
      readonly $ne?: Value;
      readonly $in?: readonly Value[];
      readonly $nin?: readonly Value[];
      readonly $lt?: number | bigint;
      readonly $lte?: number | bigint;
      readonly $gt?: number | bigint;
      readonly $exists?: boolean;
      /** An array field that holds all of these. */
      readonly $all?: readonly Value[];
    };

/** `$push` takes plain values or `{ $each, $slice }`; `attempts.$.x` is the element that the filter matched. */
export interface DocumentUpdate {
  readonly $set?: Readonly<Record<string, unknown>>;
  readonly $unset?: Readonly<Record<string, ''>>;
  readonly $inc?: Readonly<Record<string, bigint>>;
  readonly $push?: Readonly<Record<string, unknown>>;
  readonly $addToSet?: Readonly<Record<string, Value>>;
  /** Elements whose `id` is, or is among, the given ones. */
  readonly $pull?: Readonly<Record<string, { readonly id: string | { readonly $in: readonly string[] } }>>;
}

export interface GroupSum {
  /** The value that these documents share. */
  readonly of: Value;
  readonly sums: Readonly<Record<string, bigint>>;
}

export interface FindOptions {
  readonly sort?: Readonly<Record<string, 1 | -1>>;
  readonly limit?: number;
  /** The fields that are wanted beside the id; others may be left out. All of them where this is. */
  readonly only?: readonly string[];
}
