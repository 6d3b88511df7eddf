import { appendFile, mkdtemp, open, readFile, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type BlockRecord, BlockStore } from '../../../../deploy/devchain/block-store.ts';

const IDENTITY = { format: 1, seed: 'test', genesisBlockId: 'ab'.repeat(32) } as const;

function record(number: number): BlockRecord {
  return {
    block: {
      id: number.toString(16).padStart(64, '0'),
      number,
      timestampMs: number * 3_000,
      parentId: '',
      txTrieRoot: '',
      witness: '',
      signature: '',
      transactions: [],
    },
    changes: [['account/41', { balance: BigInt(number) * 10n ** 18n }]],
    solidNumber: 0,
  };
}

describe('the block store', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'block-store-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  function load(): BlockRecord[] {
    const found: BlockRecord[] = [];
    BlockStore.open(folder, IDENTITY, (item) => found.push(item)).close();
    return found;
  }

  async function fill(count: number): Promise<void> {
    const store = BlockStore.open(folder, IDENTITY, () => undefined);
    for (let number = 1; number <= count; number++) await store.append([record(number)]);
    store.close();
  }

  it('gives back what was appended, by order and by place', async () => {
    const store = BlockStore.open(folder, IDENTITY, () => undefined);
    const places = [...(await store.append([record(1), record(2)]))];
    places.push(...(await store.append([record(3)])));
    expect(places.map((place) => store.read(place))).toEqual([record(1), record(2), record(3)]);
    store.close();
    expect(load()).toEqual([record(1), record(2), record(3)]);
  });

  it('loses nothing but the torn record, wherever a crash cut the file, and goes on from there', async () => {
    await fill(3);
    const path = join(folder, 'blocks.log');
    const whole = await readFile(path);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), async (length) => {
        const handle = await open(path, 'w');
        await handle.writeFile(whole);
        await handle.close();
        await truncate(path, length);
        const found = load();
        expect(found).toEqual([record(1), record(2), record(3)].slice(0, found.length));
        const store = BlockStore.open(folder, IDENTITY, () => undefined);
        await store.append([record(9)]);
        store.close();
        expect(load()).toEqual([...found, record(9)]);
      }),
      { numRuns: 60 },
    );
  });

  it('cuts off a tail of zeros, as a file system can leave it', async () => {
    await fill(2);
    await appendFile(join(folder, 'blocks.log'), Buffer.alloc(500));
    expect(load()).toHaveLength(2);
  });

  it('refuses a file that is damaged before its end', async () => {
    await fill(3);
    const path = join(folder, 'blocks.log');
    const handle = await open(path, 'r+');
    await handle.write(Buffer.from([0xff]), 0, 1, Math.floor((await stat(path)).size / 2));
    await handle.close();
    expect(load).toThrow(/damaged at byte \d+/);
  });

  it('refuses the data of another seed in one line', async () => {
    await fill(1);
    const openOther = (): unknown => BlockStore.open(folder, { ...IDENTITY, seed: 'other' }, () => undefined);
    expect(openOther).toThrow(/was made with the seed "test"[^\n]*not "other"[^\n]*--fresh/);
  });
});
