import { setTimeout as sleep } from 'node:timers/promises';
import { TronWeb, utils } from 'tronweb';
import { type Aliases, type Answer, differences } from './compare.ts';
import type { RecordedCase } from './recording.ts';

/** An account that takes part. */
export type Actor = { readonly addressHex: string; readonly address: string; readonly privateKey: string };

export type CaseResult = {
  readonly name: string;
  readonly differences: readonly string[];
};

/** A transaction as JSON, in the form in which tronweb makes and nodes take it. */
export type TransactionJson = {
  visible: boolean;
  txID: string;
  raw_data: Record<string, unknown> & { contract: Record<string, unknown>[] };
  raw_data_hex?: string;
  signature?: string[];
  [key: string]: unknown;
};

const REQUEST_TIMEOUT_MS = 15_000;
const INCLUSION_TIMEOUT_MS = 30_000;
const SOLID_TIMEOUT_MS = 150_000;
const POLL_MS = 20;

/** The node under examination, the recording beside it, and what has been found so far. */
export class Stage {
  readonly url: string;
  readonly tronWeb: TronWeb;
  readonly results: CaseResult[] = [];
  /** True where the actors are accounts of the genesis block, as the recorded ones were. */
  readonly fromGenesis: boolean;
  readonly #recorded: ReadonlyMap<string, RecordedCase>;
  readonly #aliases = new Map<string, string>();

  constructor(url: string, recording: readonly RecordedCase[], fromGenesis: boolean) {
    this.url = url;
    this.tronWeb = new TronWeb({ fullHost: url });
    this.fromGenesis = fromGenesis;
    this.#recorded = new Map(recording.map((recorded) => [recorded.name, recorded]));
  }

  /** Says which account plays the part of a recorded address. Both without the 41. */
  cast(recordedHex20: string, addressHex: string): void {
    this.#aliases.set(recordedHex20, addressHex.slice(2));
  }

  get aliases(): Aliases {
    return this.#aliases;
  }

  recorded(name: string): RecordedCase {
    const found = this.#recorded.get(name);
    if (found === undefined) throw new Error(`nothing was recorded as ${name}`);
    return found;
  }

  hasRecorded(name: string): boolean {
    return this.#recorded.has(name);
  }

  async post(path: string, body: unknown): Promise<Answer> {
    return this.#request(path, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  async get(path: string): Promise<Answer> {
    return this.#request(path, { method: 'GET' });
  }

  /** Sends a request, compares the answer with the recorded one of that name, and gives it back. */
  async check(
    name: string,
    body: unknown,
    allowed: readonly string[] = [],
  ): Promise<Record<string, unknown>> {
    const { method, path } = this.recorded(name);
    const answer = method === 'GET' ? await this.get(String(body)) : await this.post(path, body);
    this.judge(name, answer, allowed);
    return answer.answer as Record<string, unknown>;
  }

  /** Compares an answer that is there already. */
  judge(name: string, answer: Answer, allowed: readonly string[] = []): void {
    const recorded = this.recorded(name);
    this.results.push({ name, differences: differences(recorded, answer, this.#aliases, allowed) });
  }

  /** Signs with a key, by tronweb. */
  sign(transaction: TransactionJson, actor: Actor): TransactionJson {
    return utils.crypto.signTransaction(
      actor.privateKey,
      structuredClone({ ...transaction, signature: [] }),
    ) as unknown as TransactionJson;
  }

  /** A transfer built by hand, so that any part of it may be wrong; tronweb's protobufs give its id. */
  async transfer(
    from: Actor,
    to: string,
    amount: number,
    changes: Record<string, unknown> = {},
    permissionId?: number,
  ): Promise<TransactionJson> {
    const head = await this.head();
    return withIdentity({
      visible: false,
      txID: '',
      raw_data: {
        contract: [
          {
            parameter: {
              value: { amount, owner_address: from.addressHex, to_address: to },
              type_url: 'type.googleapis.com/protocol.TransferContract',
            },
            type: 'TransferContract',
            ...(permissionId === undefined ? {} : { Permission_id: permissionId }),
          },
        ],
        ref_block_bytes: head.id.slice(12, 16),
        ref_block_hash: head.id.slice(16, 32),
        expiration: head.timestamp + 60_000,
        timestamp: uniqueTime(),
        ...changes,
      },
    });
  }

  /** The head block's id and time. */
  async head(): Promise<{ id: string; number: number; timestamp: number }> {
    const { answer } = await this.post('/wallet/getnowblock', {});
    const block = answer as {
      blockID: string;
      block_header: { raw_data: { number?: number; timestamp?: number } };
    };
    const { number = 0, timestamp = 0 } = block.block_header.raw_data;
    return { id: block.blockID, number, timestamp };
  }

  /** Broadcasts and waits for the block. @throws Error when it is refused. */
  async include(signed: TransactionJson): Promise<Record<string, unknown>> {
    const { answer } = await this.post('/wallet/broadcasttransaction', signed);
    if ((answer as { result?: boolean }).result !== true) {
      throw new Error(`the node refused a transaction that the play needs: ${JSON.stringify(answer)}`);
    }
    return this.waitForInfo(signed.txID);
  }

  /** Waits until the transaction is in a block. @returns its info */
  async waitForInfo(txId: string, root = '/wallet'): Promise<Record<string, unknown>> {
    const timeoutMs = root === '/wallet' ? INCLUSION_TIMEOUT_MS : SOLID_TIMEOUT_MS;
    const deadlineMs = Date.now() + timeoutMs;
    for (;;) {
      const { answer } = await this.post(`${root}/gettransactioninfobyid`, { value: txId });
      if (Object.keys(answer as object).length > 0) return answer as Record<string, unknown>;
      if (Date.now() > deadlineMs) throw new Error(`${txId} was not in ${root} after ${timeoutMs} ms`);
      await sleep(POLL_MS);
    }
  }

  async #request(path: string, init: RequestInit): Promise<Answer> {
    const response = await fetch(this.url + path, {
      ...init,
      headers: { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await response.text();
    return {
      status: response.status,
      type: response.headers.get('content-type') ?? '',
      answer: text.startsWith('<') ? text : (JSON.parse(text) as unknown),
    };
  }
}

/** Gives a transaction its id and hex after its raw data were changed. */
export function withIdentity(transaction: TransactionJson): TransactionJson {
  const pb = utils.transaction.txJsonToPb(transaction);
  return {
    ...transaction,
    txID: utils.transaction.txPbToTxID(pb).replace(/^0x/, ''),
    raw_data_hex: utils.transaction.txPbToRawDataHex(pb).toLowerCase(),
  };
}

let lastTime = 0;

/** The time, but never the same twice: equal transfers must differ. */
export function uniqueTime(): number {
  lastTime = Math.max(lastTime + 1, Date.now());
  return lastTime;
}
