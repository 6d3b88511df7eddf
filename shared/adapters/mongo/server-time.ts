import type { Db } from 'mongodb';
import type { StoreAccess } from './store-errors.ts';

/** The database server's clock in milliseconds since 1970, as every server tells it in its greeting. */
export async function readServerTimeMs(db: Db, { reading }: StoreAccess): Promise<number> {
  const { localTime } = await reading(() => db.command({ hello: 1 }));
  if (!(localTime instanceof Date)) throw new TypeError('the database server does not tell its time');
  return localTime.getTime();
}
