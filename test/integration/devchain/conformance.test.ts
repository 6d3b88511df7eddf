import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DevChain, startDevChain } from '../../../deploy/devchain/dev-chain.ts';
import { runConformance, type Verdict } from '../../conformance/conformance.ts';
import { readRecording } from '../../conformance/recording.ts';

describe('the development chain answers as a real java-tron does', () => {
  let folder: string;
  let chain: DevChain;
  let verdicts: ReadonlyMap<string, Verdict>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'devchain-'));
    chain = await startDevChain({ dataFolder: folder, intervalMs: 150 });
    const [, alice, bob, carol] = chain.accounts.map(({ privateKey }) => privateKey);
    if (alice === undefined || bob === undefined || carol === undefined) throw new Error('too few accounts');
    const played = await runConformance({ url: chain.url, genesisKeys: [alice, bob, carol] });
    verdicts = new Map(played.map((verdict) => [verdict.name, verdict]));
  });

  afterAll(async () => {
    await chain?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it.each(readRecording().map(({ name, note }) => ({ name, note: note ?? '' })))(
    '$name $note',
    ({ name }) => {
      expect(verdicts.get(name)).toEqual({ name, outcome: 'passed' });
    },
  );
});
