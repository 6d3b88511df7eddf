import type { Db } from 'mongodb';
import type { Ledger } from '../../ports/ledger.ts';
import { documentLedger } from './ledger.ts';
import { mongoStore } from './mongo-store.ts';

/** The ledger on MongoDB. */
export function mongoLedger(db: Db): Ledger {
  return documentLedger(mongoStore(db));
}
