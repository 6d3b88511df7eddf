/**
 * Stands in for a java-tron node, on the loopback port that it is told: the recorded answers of one, each about a
 * millisecond after the question, as on a chain at rest. It keeps no chain, so that a benchmark measures the payment
 * and not an EVM beside it on the same cores.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { altered, recordedAnswer } from '../unit/shared/adapters/recorded-answers.ts';

const ANSWER_MS = 1;
const BLOCK_MS = 3_000;
/** Main net's: behind the head by 19 of 27 representatives. */
const SOLID_LAG_BLOCKS = 19;
/** Enough for every payment of a run, and still a whole number in JSON. */
const BALANCE_SUN = 9_000_000_000_000_000;

type Body = Readonly<Record<string, string>>;

const ANSWERS: Readonly<Record<string, (body: Body) => unknown>> = {
  '/wallet/getblockbynum': () => blockAt(0),
  '/walletsolidity/getblock': () => blockAt(Math.floor(Date.now() / BLOCK_MS) - SOLID_LAG_BLOCKS),
  '/wallet/getchainparameters': () => recordedAnswer('fn-getchainparameters'),
  '/wallet/getaccountresource': () => recordedAnswer('fn-getaccountresource'),
  '/walletsolidity/getaccount': ({ address }) =>
    altered(recordedAnswer('fn-getaccount-visible'), { address, balance: BALANCE_SUN }),
  '/wallet/triggerconstantcontract': ({ function_selector }) =>
    function_selector === 'transfer(address,uint256)'
      ? recordedAnswer('fn-triggerconstant-transfer')
      : altered(recordedAnswer('fn-triggerconstant-balanceOf'), {
          constant_result: [word(function_selector === 'balanceOf(address)' ? BALANCE_SUN : 0)],
        }),
  '/wallet/broadcasthex': ({ transaction = '' }) =>
    altered(recordedAnswer('fn-broadcasthex-ok'), { txid: txIdOf(Buffer.from(transaction, 'hex')) }),
};

createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  const answer = ANSWERS[request.url ?? ''];
  if (answer === undefined) {
    response.writeHead(405, { 'content-type': 'text/html' }).end('<html>405</html>');
    return;
  }
  const line = JSON.stringify(answer(JSON.parse(text) as Body));
  await sleep(ANSWER_MS);
  response.writeHead(200, { 'content-type': 'application/json;charset=utf-8' }).end(line);
}).listen(Number(process.argv[2]), '127.0.0.1');

/** Numbered by its time, so that a block is the same whenever it is asked for. */
function blockAt(number: number) {
  const start = number.toString(16).padStart(16, '0');
  const { block_header } = recordedAnswer('sol-getnowblock') as {
    block_header: { raw_data: Record<string, unknown> };
  };
  return {
    blockID: start + createHash('sha256').update(start).digest('hex').slice(16),
    block_header: {
      ...block_header,
      raw_data: { ...block_header.raw_data, number, timestamp: number * BLOCK_MS },
    },
  };
}

function word(value: number): string {
  return value.toString(16).padStart(64, '0');
}

/** The first field of a signed transaction is its raw bytes, whose hash is the id. */
function txIdOf(transaction: Buffer): string {
  let length = 0;
  let at = 1;
  for (let shift = 0; ; shift += 7, at += 1) {
    const byte = transaction[at] ?? 0;
    length += (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  const raw = transaction.subarray(at + 1, at + 1 + length);
  return createHash('sha256').update(raw).digest('hex');
}
