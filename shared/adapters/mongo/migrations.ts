import type { Collection, Db } from 'mongodb';
import { ServiceError } from '../../domain/errors.ts';
import {
  BREAKER,
  BREAKER_ID,
  type BreakerDocument,
  PAYMENTS,
  type PaymentDocument,
  SCHEMA,
  schemaOf,
} from './documents.ts';
import { storeAccess } from './store-errors.ts';

/**
 * What brings a database that an older program has made to the present form. Old and new instances work on it side by
 * side while an update goes on, so a migration only ever adds: what an older program does not know it leaves alone.
 * Each can be run again, and the schema is raised when it is done.
 */
interface Migration {
  /** The schema that it leads to. */
  readonly schema: number;
  readonly what: string;
  run(payments: Collection<PaymentDocument>): Promise<unknown>;
}

const MIGRATIONS: readonly Migration[] = [
  {
    schema: 2,
    what: 'payments whose reservation stands are marked, by which an audit sums them up',
    run: (payments) =>
      payments.updateMany(
        { reservationId: { $ne: null }, closeId: null, items: { $exists: false } } as object,
        { $set: { isHeld: true } },
      ),
  },
];

/**
 * Brings all that is stored to the present form, one step after the other. Nothing is done where it has that form.
 * @returns the steps that were taken
 * @throws ServiceError `store_unavailable` where the database is away, or of a newer program
 */
export async function migrateDatabase(db: Db): Promise<readonly Pick<Migration, 'schema' | 'what'>[]> {
  const { reading, writing } = storeAccess(db.client);
  const breakers = db.collection<BreakerDocument>(BREAKER);
  const breaker = await reading(() => breakers.findOne({ _id: BREAKER_ID }));
  if (breaker === null) return [];
  const schema = schemaOf(breaker);
  if (schema > SCHEMA) {
    throw new ServiceError(
      'store_unavailable',
      `The database has schema ${schema}, and this program knows no more than ${SCHEMA}: it is older than the database.`,
    );
  }
  const due = MIGRATIONS.filter((migration) => migration.schema > schema);
  for (const migration of due) {
    await writing(() => migration.run(db.collection<PaymentDocument>(PAYMENTS)));
    await writing(() =>
      breakers.updateOne({ _id: BREAKER_ID }, { $set: { schema: migration.schema } as object }),
    );
  }
  return due;
}
