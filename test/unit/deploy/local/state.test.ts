import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isOfFolder } from '../../../../deploy/local/processes.ts';
import {
  findRunningStacks,
  lockState,
  pathsOf,
  removeStackFile,
  type StatePaths,
  stateDirOfNode,
  wipe,
  writeStackFile,
} from '../../../../deploy/local/state.ts';

let folder: string;
let paths: StatePaths;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'state-'));
  paths = pathsOf(folder);
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const STACK = {
  url: 'http://127.0.0.1:8090',
  opsUrl: 'http://127.0.0.1:8091',
  nodeUrl: 'http://127.0.0.1:9090',
  walletAddress: 'T1',
  usdtAddress: 'T2',
  genesisBlockId: '00',
  audience: 'a',
  settleEnvironment: {},
  callerSecretFiles: {},
};

describe('the lock of a state folder', () => {
  it('is had by one at a time, and again once it is released', () => {
    const lock = lockState(paths);
    expect(() => lockState(paths)).toThrow(`a stack already runs on ${folder} (pid ${process.pid})`);

    lock.release();
    expect(existsSync(paths.lock)).toBe(false);
    lockState(paths).release();
  });

  it.each([
    ['a process that has ended', { pid: 2 ** 22 + 1, startTicks: '1' }],
    ['another process that got the same pid', { pid: process.pid, startTicks: '1' }],
  ])('is taken over from %s', (_, owner) => {
    writeFileSync(paths.lock, JSON.stringify(owner));
    lockState(paths).release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is taken over where its file is damaged', () => {
    writeFileSync(paths.lock, '{"pid":');
    lockState(paths).release();
  });

  it('is not released by one who has lost it', () => {
    const lock = lockState(paths);
    writeFileSync(paths.lock, 'of another owner');
    lock.release();
    expect(readFileSync(paths.lock, 'utf8')).toBe('of another owner');
  });

  it('gives each start an id of its own, and all starts of a folder a common part', () => {
    const [first, second] = [1, 2].map(() => {
      const lock = lockState(paths);
      lock.release();
      return lock.stackId;
    });
    expect(first).not.toBe(second);
    expect(isOfFolder(first ?? '')(second ?? '')).toBe(true);
    mkdirSync(join(folder, 'other'));
    const other = lockState(pathsOf(join(folder, 'other')));
    expect(isOfFolder(first ?? '')(other.stackId)).toBe(false);
  });
});

describe('finding running stacks', () => {
  it('finds the one of the folder and those for other nodes', () => {
    const other = stateDirOfNode(folder, `${'0'.repeat(48)}0123456789abcdef`);
    mkdirSync(other, { recursive: true });
    writeStackFile(paths, STACK);
    writeStackFile(pathsOf(other), STACK);

    expect(findRunningStacks(folder).map(({ stateDir }) => stateDir)).toEqual([
      folder,
      join(folder, 'nodes/0123456789abcdef'),
    ]);
    removeStackFile(paths);
    expect(findRunningStacks(folder)).toHaveLength(1);
  });

  it('passes over what a killed stack left behind', () => {
    writeFileSync(
      paths.stackFile,
      JSON.stringify({ ...STACK, supervisor: { pid: process.pid, startTicks: '1' } }),
    );
    expect(findRunningStacks(folder)).toEqual([]);
  });
});

describe('a fresh start', () => {
  it('forgets payments and chain together, and keeps secrets', () => {
    for (const path of [paths.database, paths.chain, paths.secrets]) {
      mkdirSync(path);
      writeFileSync(join(path, 'file'), '');
    }
    wipe(paths);
    expect(readdirSync(folder)).toEqual(['secrets']);
  });
});
