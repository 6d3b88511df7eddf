import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { Random } from '../support/random.ts';

export interface LyingNodesOptions {
  /** The honest node behind them. */
  readonly nodeUrl: string;
  /** Of loopback; two ports pass for two operators, whose word together proves a transaction absent. */
  readonly ports: readonly number[];
  readonly random: Random;
}

const BROADCAST = '/wallet/broadcasthex';
const ASKED_BY_ID = /\/gettransaction(?:info)?byid$/;
const DENIED_SHARE = 0.25;
const DENIED_AT_ONCE_MAX = 3;

/**
 * Nodes that agree on a lie: they pass everything on to the real chain, but some transactions that they have taken
 * they deny to have, until they are told to admit them. Two independent operators never do that; what an engine does
 * when they have done it all the same is stop, and ask a person.
 */
export class LyingNodes {
  readonly #options: LyingNodesOptions;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #servers: Server[];
  readonly #judged = new Set<string>();
  readonly #denied = new Set<string>();
  #isHonest = false;

  private constructor(options: LyingNodesOptions) {
    this.#options = options;
    this.#servers = options.ports.map(() =>
      createServer((request, response) => {
        this.#relay(request).then(
          ({ status, body }) => {
            response.writeHead(status, { 'content-type': 'application/json' }).end(body);
          },
          // As the chain itself does where it hangs up, or is dead.
          () => response.destroy(),
        );
      }),
    );
  }

  static async start(options: LyingNodesOptions): Promise<LyingNodes> {
    const nodes = new LyingNodes(options);
    await Promise.all(
      nodes.#servers.map(
        (server, index) =>
          new Promise<void>((listening, failed) => {
            server.once('error', failed).listen(options.ports[index], '127.0.0.1', listening);
          }),
      ),
    );
    return nodes;
  }

  get urls(): string[] {
    return this.#options.ports.map((port) => `http://127.0.0.1:${port}`);
  }

  /** The transactions that they deny now. */
  get denied(): readonly string[] {
    return [...this.#denied];
  }

  admit(txId: string): void {
    this.#denied.delete(txId);
  }

  /** From now on they admit what they take; what they deny already they go on denying. */
  denyNoMore(): void {
    this.#isHonest = true;
  }

  stop(): void {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    this.#agent.destroy();
  }

  async #relay(request: IncomingMessage): Promise<{ readonly status: number; readonly body: Buffer }> {
    const path = request.url ?? '/';
    const asked = await readAll(request);
    if (ASKED_BY_ID.test(path) && this.#denied.has(textOf(asked, 'value'))) {
      return { status: 200, body: Buffer.from('{}') };
    }
    const answer = await this.#ask(path, asked);
    const body = await readAll(answer);
    if (path === BROADCAST) this.#judge(textOf(body, 'txid'));
    return { status: answer.statusCode ?? 502, body };
  }

  /** Decides once for each transaction, before whoever sent it knows that it was taken. */
  #judge(txId: string): void {
    if (txId === '' || this.#judged.has(txId)) return;
    this.#judged.add(txId);
    const isChosen = this.#options.random.chance(DENIED_SHARE);
    if (isChosen && !this.#isHonest && this.#denied.size < DENIED_AT_ONCE_MAX) this.#denied.add(txId);
  }

  #ask(path: string, body: Buffer): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      httpRequest(new URL(path, this.#options.nodeUrl), {
        method: 'POST',
        agent: this.#agent,
        headers: { 'content-type': 'application/json', 'content-length': body.length },
      })
        .once('response', resolve)
        .once('error', reject)
        .end(body);
    });
  }
}

async function readAll(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A text in a JSON document; empty where there is none. */
function textOf(json: Buffer, name: string): string {
  try {
    const value = (JSON.parse(json.toString('utf8')) as Readonly<Record<string, unknown>>)[name];
    return typeof value === 'string' ? value : '';
  } catch {
    return '';
  }
}
