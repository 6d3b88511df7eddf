/** This process's time. Decisions about money use the database server's time instead (`Ledger.serverTimeMs`). */
export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Resolves after the given time; used between tries, never to wait for a state. */
  sleep(durationMs: number): Promise<void>;
}
