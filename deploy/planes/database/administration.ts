import { setTimeout as sleep } from 'node:timers/promises';
import { BREAKER, PAYMENTS } from '../../../shared/adapters/mongo/documents.ts';

/** Runs one command on the database `admin`. Rejects with the server's error, whose `code` says which. */
export type RunCommand = (command: Record<string, unknown>) => Promise<Record<string, unknown>>;

export interface DatabaseUser {
  readonly name: string;
  readonly password: string;
  /** `pay`: find, insert and update, never remove or drop. `read`: find. */
  readonly may: 'pay' | 'read';
}

// Codes of the server's errors, https://github.com/mongodb/mongo/blob/v7.0/src/mongo/base/error_codes.yml
const ALREADY_INITIALIZED = 23;
const NOT_YET_INITIALIZED = 94;
const DUPLICATE_ROLE = 51_002;
const DUPLICATE_USER = 51_003;

const POLL_MS = 200;

/**
 * Initiates a replica set of one member where there is none, and waits until it takes writes. More members are
 * added by the operator (`rs.add`).
 *
 * @returns whether it was made now.
 * @throws Error when no primary is seen in time.
 */
export async function ensureReplicaSet(
  run: RunCommand,
  set: { readonly name: string; readonly host: string; readonly patienceMs: number },
): Promise<boolean> {
  const isMade = await initiate(run, set);
  const untilMs = performance.now() + set.patienceMs;
  for (;;) {
    const hello = await run({ hello: 1 });
    if (hello.isWritablePrimary === true) return isMade;
    // Another member may be the primary: then this one has nothing to wait for.
    if (typeof hello.primary === 'string' && hello.primary !== hello.me) return isMade;
    if (performance.now() > untilMs) {
      throw new Error(`replica set ${set.name} has no primary after ${set.patienceMs / 1_000} s`);
    }
    await sleep(POLL_MS);
  }
}

async function initiate(run: RunCommand, { name, host }: { name: string; host: string }): Promise<boolean> {
  try {
    await run({ replSetGetStatus: 1 });
    return false;
  } catch (error) {
    if (codeOf(error) !== NOT_YET_INITIALIZED) throw error;
  }
  try {
    await run({ replSetInitiate: { _id: name, members: [{ _id: 0, host }] } });
    return true;
  } catch (error) {
    // Another start was quicker.
    if (codeOf(error) === ALREADY_INITIALIZED) return false;
    throw error;
  }
}

/**
 * Makes the users and their roles, or sets those that are there to what is asked for now, so that a changed password
 * file changes the password.
 */
export async function ensureUsers(
  run: RunCommand,
  database: string,
  users: readonly DatabaseUser[],
): Promise<readonly { readonly name: string; readonly outcome: 'created' | 'updated' }[]> {
  for (const [role, actions] of Object.entries(ROLES)) {
    const privileges = [PAYMENTS, BREAKER].map((collection) => ({
      resource: { db: database, collection },
      actions,
    }));
    await createOrUpdate(
      run,
      { createRole: role, privileges, roles: [] },
      { updateRole: role, privileges, roles: [] },
      DUPLICATE_ROLE,
    );
  }
  const outcomes: { name: string; outcome: 'created' | 'updated' }[] = [];
  for (const { name, password, may } of users) {
    const rest = { pwd: password, roles: [{ role: ROLE_OF[may], db: 'admin' }] };
    const outcome = await createOrUpdate(
      run,
      { createUser: name, ...rest },
      { updateUser: name, ...rest },
      DUPLICATE_USER,
    );
    outcomes.push({ name, outcome });
  }
  return outcomes;
}

const ROLE_OF = { pay: 'lucid_pays', read: 'lucid_reads' } as const;

/** Nothing is ever removed: keys and payments are kept for good. */
const ROLES: Readonly<Record<(typeof ROLE_OF)[keyof typeof ROLE_OF], readonly string[]>> = {
  lucid_pays: ['find', 'insert', 'update'],
  lucid_reads: ['find'],
};

async function createOrUpdate(
  run: RunCommand,
  create: Record<string, unknown>,
  update: Record<string, unknown>,
  duplicateCode: number,
): Promise<'created' | 'updated'> {
  try {
    await run(create);
    return 'created';
  } catch (error) {
    if (codeOf(error) !== duplicateCode) throw error;
  }
  await run(update);
  return 'updated';
}

function codeOf(error: unknown): number | undefined {
  return (error as { readonly code?: number } | null)?.code;
}
