/** Unique names and chance, injected so that tests are repeatable. */
export interface Ids {
  /** A globally unique, time-ordered id (UUID version 7, RFC 9562). */
  next(): string;
  /** A number in [0, 1), for jitter. */
  random(): number;
}
