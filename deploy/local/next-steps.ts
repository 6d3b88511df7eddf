/** What a person may try on a running stack, ready to paste. */
import { randomUUID } from 'node:crypto';
import { authorize } from '../cli/running-stack.ts';
import { createRecipient } from './accounts.ts';
import type { Console } from './console.ts';
import type { StackInfo } from './stack.ts';

/** Prints commands that are valid as they stand: each token is made for exactly that request. */
export async function printNextSteps(console: Console, info: StackInfo): Promise<void> {
  const { access, facts, opsUrl, faultsUrl, paths } = info;
  const { url } = access;
  const key = randomUUID();
  const body = JSON.stringify({ to: createRecipient(paths.secrets), amount: '1.5', asset: 'USDT' });
  const [payToken, readToken] = await Promise.all([
    authorize(access, { method: 'POST', path: '/pay', idempotencyKey: key, body }),
    authorize(access, { method: 'GET', path: '/stats' }),
  ]);

  console.line();
  console.heading('To pay, paste this (its token is good for one hour, and for this request alone):');
  console.line(
    [
      `curl -s ${url}/pay -H 'content-type: application/json' -H 'idempotency-key: ${key}' \\`,
      `  -H 'authorization: Bearer ${payToken}' \\`,
      `  -d '${body}'`,
    ].join('\n'),
  );
  console.heading('Or: npm run pay -- --to T… --amount 1.5 --asset USDT');
  console.line();
  console.heading('Figures:');
  console.line(`curl -s ${url}/stats -H 'authorization: Bearer ${readToken}'`);
  console.line();
  const lines: readonly (readonly [string, string | undefined])[] = [
    ['functions', `${url}/pay  /health  /stats  /metrics`],
    ['sidecar', `${opsUrl}/health  /metrics`],
    ['node', `${facts.nodeUrl}  (${facts.network})`],
    ['faults', faultsUrl],
    ['wallet', facts.walletAddress],
    ['USDT', facts.usdtAddress],
    ['logs', paths.logs],
  ];
  for (const [name, value] of lines) {
    if (value !== undefined) console.line(`  ${name.padEnd(11)}${value}`);
  }
  console.line();
  console.heading('Ctrl-C stops everything.');
}
