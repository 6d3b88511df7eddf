import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Database,
  type StartDatabaseOptions,
  startDatabase,
} from '../../../deploy/local/database/start-database.ts';

/** A machine without MONGO_URL; its PATH decides between mongod and the emulator. */
const env = { ...process.env, MONGO_URL: undefined };

let dataDir: string;
const databases: Database[] = [];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'database-'));
});

afterEach(async () => {
  await Promise.all(databases.splice(0).map((database) => database.stop()));
  await rm(dataDir, { recursive: true, force: true });
});

async function start(options: StartDatabaseOptions): Promise<Database> {
  const database = await startDatabase({ env, ...options });
  databases.push(database);
  return database;
}

function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

describe('startDatabase', () => {
  it('takes MONGO_URL first, and shows its hosts without its password', async () => {
    const url = 'mongodb://lucid:p%40ss@mongo-a:27017,mongo-b:27018/payments?replicaSet=rs0';
    const database = await start({ memory: true, env: { ...env, MONGO_URL: url } });
    expect(database).toMatchObject({ url, kind: 'configured', pid: undefined });
    expect(database.description).toBe('the database that MONGO_URL names (mongo-a:27017,mongo-b:27018)');
  });

  it('keeps the data between an orderly end and the next start', async () => {
    const write = await start({ dataDir });
    const writer = await new MongoClient(write.url).connect();
    await writer.db('t').collection('c').createIndex({ key: 1 }, { unique: true });
    await writer.db('t').collection('c').insertOne({ key: 'k' });
    await writer.close();
    await write.stop();

    const read = await start({ dataDir });
    const reader = await new MongoClient(read.url).connect();
    try {
      expect(await reader.db('t').collection('c').countDocuments({ key: 'k' })).toBe(1);
      await expect(reader.db('t').collection('c').insertOne({ key: 'k' })).rejects.toMatchObject({
        code: 11000,
      });
    } finally {
      await reader.close();
    }
  });

  it('keeps nothing in memory mode', async () => {
    const first = await start({ memory: true });
    const writer = await new MongoClient(first.url).connect();
    await writer.db('t').collection('c').insertOne({ key: 'k' });
    await writer.close();
    await first.stop();
    const second = await start({ memory: true });
    const reader = await new MongoClient(second.url).connect();
    expect(await reader.db('t').collection('c').countDocuments()).toBe(0);
    await reader.close();
  });

  it('listens on loopback only', async () => {
    const { url } = await start({ memory: true });
    const port = Number(new URL(url).port);
    expect(await canConnect('127.0.0.1', port)).toBe(true);
    // All of 127.0.0.0/8 reaches this machine: a listener on every address would answer here.
    expect(await canConnect('127.0.0.2', port)).toBe(false);
  });

  it('tells its end when it is killed', async () => {
    const database = await start({ memory: true });
    process.kill(database.pid ?? 0, 'SIGKILL');
    expect(await database.exited).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('says in one line which port is busy', async () => {
    const { url } = await start({ memory: true });
    const port = Number(new URL(url).port);
    await expect(start({ memory: true, port })).rejects.toThrow(new RegExp(`^.*${port}.*$`));
  });

  it('says in one line that another process has the data', async () => {
    await start({ dataDir });
    await expect(start({ dataDir })).rejects.toThrow(/^.*(in use|lock).*$/);
  });

  it('needs to be told where the data shall live', async () => {
    await expect(startDatabase({ env })).rejects.toThrow('either dataDir or memory');
    await expect(startDatabase({ env, dataDir, memory: true })).rejects.toThrow('either dataDir or memory');
  });
});

describe('the launcher of the emulator', () => {
  it('says what to install where there is no Java', () => {
    const program = `
      import { startDatabase } from ${JSON.stringify(join(import.meta.dirname, '../../../deploy/local/database/start-database.ts'))};
      await startDatabase({ memory: true, env: { PATH: '' } }).catch((error) => console.log(error.message));`;
    const told = execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
      env: { ...env, JAVA_HOME: '/nowhere' },
      encoding: 'utf8',
    });
    expect(told.trim()).toBe(
      'the local database needs a JDK, version 17 or later: install one ' +
        '(Debian: apt-get install default-jdk-headless), or put mongod on PATH, or set MONGO_URL',
    );
  });
});
