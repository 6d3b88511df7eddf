import { join } from 'node:path';
import { readCliOptions, USAGE } from './cli-options.ts';
import { type DevChain, startDevChain } from './dev-chain.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

/** Runs the command line; it ends when a signal comes. */
export async function runCli(): Promise<void> {
  const options = readCliOptions(process.argv.slice(2), join(REPOSITORY, '.local/chain'));
  if (options === 'help') {
    process.stdout.write(USAGE);
    return;
  }
  const chain = await startDevChain({ ...options, onFatal: fail });
  process.stdout.write(welcome(chain));
  const { url, faultsUrl, usdtAddress, genesisBlockId, seed } = chain;
  process.stdout.write(`READY ${JSON.stringify({ url, faultsUrl, usdtAddress, genesisBlockId, seed })}\n`);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      chain.close().then(
        () => process.exit(0),
        (error: unknown) => fail(error),
      );
    });
  }
}

function welcome(chain: DevChain): string {
  const [wallet] = chain.accounts;
  const rows = chain.accounts.map(
    ({ name, address, privateKey }) => `  ${name.padEnd(7)} ${address}  ${privateKey}`,
  );
  return `Development chain at ${chain.url}, block ${chain.chain.head.number}.
Everyone knows these keys: use them on this chain only.
${rows.join('\n')}
USDT at ${chain.usdtAddress}; ${wallet?.name ?? ''} began with 1,000,000 TRX and 1,000,000 USDT.
Try:
  curl -s ${chain.url}/walletsolidity/getnowblock
  curl -s '${chain.url}/wallet/getaccount?visible=true&address=${wallet?.address ?? ''}'
  curl -s ${chain.faultsUrl}/ledger
  curl -s ${chain.faultsUrl}/faults -d '{"kind":"delay","ms":2000,"count":3}'
`;
}

/** One clear line, and the end. */
export function fail(error: unknown): void {
  process.stderr.write(`devchain: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
