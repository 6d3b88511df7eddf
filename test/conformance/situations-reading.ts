import { setTimeout as sleep } from 'node:timers/promises';
import type { Actor, Stage } from './stage.ts';

/** Solid heads lag up to a minute. */
const EMPTY_TIMEOUT_MS = 120_000;
const ABSENT_TX = 'ab'.repeat(32);

/** Questions about blocks, parameters and things that are not there. */
export async function playReading(stage: Stage): Promise<void> {
  await stage.check('fn-getchainparameters', {});
  await checkPrices(stage, 'fn-getenergyprices');
  await checkPrices(stage, 'fn-getbandwidthprices');
  const number = await waitForEmptyHeads(stage);
  await stage.check('fn-getnowblock', {});
  await stage.check('sol-getnowblock', {});
  await stage.check('fn-getblock-default', {});
  await stage.check('fn-getblock-nodetail', { id_or_num: String(number), detail: false });
  await stage.check('fn-getblock-absent', { id_or_num: '99999999', detail: true });
  await stage.check('fn-getblockbynum', { num: number });
  await stage.check('fn-getblockbynum-GET', `/wallet/getblockbynum?num=${number}`);
  await stage.check('fn-getblockbynum-absent', { num: 99_999_999 });
  await stage.check('fn-getblockbynum-string', '{"num":"50"}');
  await stage.check('fn-getblockbynum-nan', '{"num":"abc"}');
  // The genesis block holds each chain's own first accounts.
  await stage.check('fn-getblockbynum-nobody', {}, ['transactions']);
  await stage.check('sol-getblockbynum', { num: 1 });
  await stage.check('sol-getblockbynum-ahead', { num: number + 1_000 });
  await stage.check('sol-getblock', {});
  await stage.check('sol-getchainparameters', {});
  await stage.check('fn-malformed-json', '{"address":');
  await stage.check('fn-empty-body-getaccount', '');
  await stage.check('fn-gettransactionbyid-absent', { value: ABSENT_TX });
  await stage.check('fn-gettransactionbyid-bad', '{"value":"zz"}');
  await stage.check('fn-gettransactionbyid-short', { value: 'abcd' });
  await stage.check('fn-gettransactioninfobyid-absent', { value: ABSENT_TX });
  await stage.check('sol-gettransactionbyid-absent', { value: ABSENT_TX });
  await stage.check('sol-gettransactioninfobyid-absent', { value: ABSENT_TX });
}

/** The recorded blocks were empty, so a node that has just worked is waited for. @returns the head's number */
async function waitForEmptyHeads(stage: Stage): Promise<number> {
  for (const deadlineMs = Date.now() + EMPTY_TIMEOUT_MS; Date.now() < deadlineMs; await sleep(100)) {
    const heads = [
      await stage.post('/wallet/getnowblock', {}),
      await stage.post('/walletsolidity/getnowblock', {}),
    ];
    if (heads.every(({ answer }) => !('transactions' in (answer as object)))) break;
  }
  return (await stage.head()).number;
}

/** Questions about an account that has never acted, and one that is not there. */
export async function playAccounts(
  stage: Stage,
  alice: Actor,
  absent: Actor,
  witnessHex: string,
): Promise<void> {
  const visible = { address: alice.address, visible: true };
  const origin = accountOrigin(stage);
  await stage.check('fn-getaccount-visible', visible, origin);
  await stage.check('fn-getaccount-hex', { address: alice.addressHex }, origin);
  await stage.check('fn-getaccount-b58-novisible', `{"address":"${alice.address}"}`);
  await stage.check('fn-getaccount-absent', { address: absent.address, visible: true });
  await stage.check('sol-getaccount', visible, origin);
  await stage.check('sol-getaccount-absent', { address: absent.address, visible: true });
  await stage.check('fn-getaccountresource', visible);
  await stage.check('fn-getaccountnet', visible);
  await stage.check('sol-getaccountresource', visible);
  const witness = stage.tronWeb.address.fromHex(witnessHex);
  await stage.check('fn-getaccount-witness', { address: witness, visible: true }, [
    // The recorded witness had sent a transaction, ours never does.
    'latest_opration_time',
    'latest_consume_free_time',
    'free_net_usage',
    'balance',
    'account_name',
  ]);
}

/** What an account of the genesis block shows and one made by a transfer does not, and the reverse. */
export function accountOrigin(stage: Stage): readonly string[] {
  return stage.fromGenesis
    ? ['account_name']
    : ['account_name', 'create_time', 'owner_permission', 'active_permission'];
}

/** A list of `time:price`; the times are each chain's own, the price now must agree. */
async function checkPrices(stage: Stage, name: string): Promise<void> {
  const { path, answer } = stage.recorded(name);
  const actual = await stage.post(path, {});
  const now = (value: unknown): string =>
    /:(\d+)$/.exec(String((value as { prices?: unknown }).prices))?.[1] ?? '';
  const agrees = now(actual.answer) === now(answer);
  stage.judge(name, agrees ? { ...actual, answer } : actual);
}
