/**
 * A process that pays or settles once with the real engine, and kills itself with SIGKILL at one port call: its
 * sockets, its claim and its half-done work are left as a machine that lost power leaves them.
 *
 *   node mortal-worker.ts pay KILL_AT KEY RECIPIENT AMOUNT_MICRO
 *   node mortal-worker.ts settle KILL_AT
 *
 * KILL_AT counts from 1; odd is just before a call, even just after it. Prints `calls N` when it lives to the end.
 * The environment is a function's own.
 */
import { composeEngine } from '../../shared/composition/compose-engine.ts';
import { readConfig } from '../../shared/runtime/config.ts';
import { payOut } from '../../shared/usecases/pay-out.ts';
import { settle } from '../../shared/usecases/settle.ts';
import { atEachCall } from './each-call.ts';
import { address } from './test-engine.ts';

const [task, killAtText, key = '', recipient = '', amountMicro = '0'] = process.argv.slice(2);
const killAt = Number(killAtText);
let calls = 0;

const step = () => {
  calls += 1;
  if (calls === killAt) process.kill(process.pid, 'SIGKILL');
};
const mortal = atEachCall(step, step);
const engine = composeEngine(readConfig(process.env, { needs: ['walletKey', 'encryptionKey'] }), mortal);
if (task === 'pay') {
  await payOut(engine, {
    order: {
      asset: 'USDT',
      amountMicro: BigInt(amountMicro),
      recipient: address(recipient),
      reference: null,
    },
    caller: 'gateway',
    idempotencyKey: key,
    respondAsync: false,
  });
} else {
  await settle(engine, { deadlineMs: Date.now() + 20_000, paymentsMax: 500 }, (_, error) => {
    throw error;
  });
}
process.stdout.write(`calls ${calls}\n`);
process.exit(0);
