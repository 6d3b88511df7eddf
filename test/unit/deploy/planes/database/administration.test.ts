import { describe, expect, it } from 'vitest';
import {
  type DatabaseUser,
  ensureReplicaSet,
  ensureUsers,
} from '../../../../../deploy/planes/database/administration.ts';

type Command = Record<string, unknown>;

/** A server's answers to the few commands that are asked, with MongoDB's codes. */
class AdminServer {
  readonly commands: string[] = [];
  readonly roles = new Map<unknown, Command>();
  readonly users = new Map<unknown, Command>();
  replicaSet: Command | undefined;
  hellosUntilPrimary = 2;
  /** Another start that initiates between our look and our own initiation. */
  isRaced = false;

  readonly run = async (command: Command): Promise<Command> => {
    const [name = ''] = Object.keys(command);
    this.commands.push(name);
    switch (name) {
      case 'replSetGetStatus':
        if (this.replicaSet === undefined) throw failure(94);
        return { ok: 1 };
      case 'replSetInitiate':
        if (this.isRaced || this.replicaSet !== undefined) {
          this.replicaSet ??= command.replSetInitiate as Command;
          throw failure(23);
        }
        this.replicaSet = command.replSetInitiate as Command;
        return { ok: 1 };
      case 'hello':
        this.hellosUntilPrimary -= 1;
        return { isWritablePrimary: this.hellosUntilPrimary < 0 };
      case 'createRole':
      case 'updateRole':
        return this.#put(this.roles, name === 'createRole', command[name], command, 51_002);
      case 'createUser':
      case 'updateUser':
        return this.#put(this.users, name === 'createUser', command[name], command, 51_003);
      default:
        throw failure(59);
    }
  };

  #put(
    map: Map<unknown, Command>,
    isNew: boolean,
    id: unknown,
    command: Command,
    duplicate: number,
  ): Command {
    if (isNew && map.has(id)) throw failure(duplicate);
    map.set(id, command);
    return { ok: 1 };
  }
}

function failure(code: number): Error {
  return Object.assign(new Error(`code ${code}`), { code });
}

const SET = { name: 'rs0', host: 'mongo:27017', patienceMs: 2_000 };
const USERS: readonly DatabaseUser[] = [
  { name: 'lucid', password: 'first password', may: 'pay' },
  { name: 'lucid_stats', password: 'second password', may: 'read' },
];

describe('the replica set', () => {
  it('is initiated once, with the name that its clients use, and waited for', async () => {
    const server = new AdminServer();
    expect(await ensureReplicaSet(server.run, SET)).toBe(true);
    expect(server.replicaSet).toEqual({ _id: 'rs0', members: [{ _id: 0, host: 'mongo:27017' }] });
    expect(server.commands.filter((name) => name === 'hello')).toHaveLength(3);
    expect(await ensureReplicaSet(server.run, SET)).toBe(false);
    expect(server.commands.filter((name) => name === 'replSetInitiate')).toHaveLength(1);
  });

  it('may be initiated by another start meanwhile', async () => {
    const server = new AdminServer();
    server.isRaced = true;
    expect(await ensureReplicaSet(server.run, SET)).toBe(false);
  });

  it('without a primary is an error that says so', async () => {
    const server = new AdminServer();
    server.hellosUntilPrimary = Number.POSITIVE_INFINITY;
    await expect(ensureReplicaSet(server.run, { ...SET, patienceMs: 0 })).rejects.toThrow(
      'has no primary after 0 s',
    );
  });

  it('is not touched where the server gives another reason than that there is none', async () => {
    const server = new AdminServer();
    const refuse = async (command: Command) => {
      if ('replSetGetStatus' in command) throw failure(13);
      return server.run(command);
    };
    await expect(ensureReplicaSet(refuse, SET)).rejects.toThrow('code 13');
    expect(server.commands).toEqual([]);
  });
});

describe('the users', () => {
  it('may do what they need on the two collections, and never remove or drop', async () => {
    const server = new AdminServer();
    expect(await ensureUsers(server.run, 'lucid_payments', USERS)).toEqual([
      { name: 'lucid', outcome: 'created' },
      { name: 'lucid_stats', outcome: 'created' },
    ]);
    const actions = [...server.roles.values()].flatMap(({ privileges }) =>
      (privileges as { actions: string[] }[]).flatMap((privilege) => privilege.actions),
    );
    expect([...new Set(actions)].sort()).toEqual(['find', 'insert', 'update']);
    const reads = server.roles.get('lucid_reads')?.privileges as { actions: string[]; resource: object }[];
    expect(reads.map((privilege) => privilege.actions)).toEqual([['find'], ['find']]);
    expect(reads.map(({ resource }) => resource)).toEqual([
      { db: 'lucid_payments', collection: 'payments' },
      { db: 'lucid_payments', collection: 'breaker' },
    ]);
    expect(server.users.get('lucid_stats')?.roles).toEqual([{ role: 'lucid_reads', db: 'admin' }]);
  });

  it('get the password of the file when it was changed', async () => {
    const server = new AdminServer();
    await ensureUsers(server.run, 'lucid_payments', USERS);
    const changed = USERS.map((user) => ({ ...user, password: 'another password' }));
    expect((await ensureUsers(server.run, 'lucid_payments', changed)).map(({ outcome }) => outcome)).toEqual([
      'updated',
      'updated',
    ]);
    expect(server.users.get('lucid')?.pwd).toBe('another password');
  });
});
