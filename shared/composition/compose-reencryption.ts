import { connectMongo } from '../adapters/mongo/connect.ts';
import { mongoSealedAttempts } from '../adapters/mongo/sealed-attempts.ts';
import type { ConfigWith } from '../runtime/config.ts';
import type { Reencryption } from '../usecases/reencrypt.ts';
import { composeVault } from './compose-engine.ts';

/** What sealing all attempts anew takes. Nothing is dialled yet. */
export function composeReencryption(config: ConfigWith<'encryptionKey'>): Reencryption {
  const { db } = connectMongo(config.mongo);
  return { attempts: mongoSealedAttempts(db), vault: composeVault(config.secrets.encryptionKey) };
}
