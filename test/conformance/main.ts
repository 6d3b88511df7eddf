import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { devAccounts } from '../../deploy/devchain/accounts.ts';
import { type DevChain, startDevChain } from '../../deploy/devchain/dev-chain.ts';
import { type ConformanceOptions, runConformance, type Verdict } from './conformance.ts';

const USAGE = `Plays what was recorded of a real java-tron on a node, and compares case by case.

  npm run chain:conformance                          a development chain in this process
  npm run chain:conformance -- --node URL [--key HEX | --key-file F]

  --node URL        a node's HTTP address, for instance a private java-tron's
  --key, --key-file an account there with 12,000 TRX; the development wallet where none is given
  --verbose         also show what passed
`;
const INTERVAL_MS = 200;

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    options: { node: text, key: text, 'key-file': text, verbose: flag, help: flag },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const keyFile = values['key-file'];
  const key = values.key ?? (keyFile === undefined ? undefined : (await readFile(keyFile, 'utf8')).trim());
  const verdicts =
    values.node === undefined ? await examineOwnChain() : await runConformance(foreign(values.node, key));
  process.stdout.write(report(verdicts, values.verbose === true));
  process.exitCode = verdicts.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
}

function foreign(url: string, key: string | undefined): ConformanceOptions {
  const payerKey = key ?? devAccounts('development')[0]?.privateKey;
  return { url: url.replace(/\/$/, ''), ...(payerKey === undefined ? {} : { payerKey }) };
}

async function examineOwnChain(): Promise<readonly Verdict[]> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'devchain-conformance-'));
  let chain: DevChain | undefined;
  try {
    chain = await startDevChain({ dataFolder, intervalMs: INTERVAL_MS });
    const [, alice, bob, carol] = chain.accounts;
    if (alice === undefined || bob === undefined || carol === undefined) throw new Error('too few accounts');
    return await runConformance({
      url: chain.url,
      genesisKeys: [alice.privateKey, bob.privateKey, carol.privateKey],
    });
  } finally {
    await chain?.close();
    await rm(dataFolder, { recursive: true, force: true });
  }
}

function report(verdicts: readonly Verdict[], verbose: boolean): string {
  const width = Math.max(...verdicts.map(({ name }) => name.length));
  const lines = verdicts.flatMap((verdict) => {
    const head = `${verdict.name.padEnd(width)}  ${verdict.outcome}`;
    if (verdict.outcome === 'failed') return [head, ...verdict.differences.map((line) => `    ${line}`)];
    if (verdict.outcome === 'not covered') return [`${head}: ${verdict.reason}`];
    return verbose ? [head] : [];
  });
  const count = (outcome: Verdict['outcome']): number => verdicts.filter((v) => v.outcome === outcome).length;
  return `${lines.join('\n')}\n${count('passed')} passed, ${count('failed')} failed, ${count('not covered')} not covered\n`;
}

main().catch((error: unknown) => {
  process.stderr.write(`conformance: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
