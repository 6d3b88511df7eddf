import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a node is to answer to one path: a JSON value, or something made from the request's body. */
export type Answer = unknown | ((body: Readonly<Record<string, unknown>>) => unknown);

/** An answer that is not plain JSON with status 200. */
export class Reply {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, text: string, headers: Readonly<Record<string, string>> = {}) {
    this.status = status;
    this.text = text;
    this.headers = headers;
  }
}

export interface Asked {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: IncomingMessage['headers'];
}

/**
 * A node that answers from a table, for behaviour that no real node can be brought to. A path that is not in the
 * table gets java-tron's 405 page. The table may be changed while it runs.
 */
export interface FakeNode {
  readonly url: string;
  readonly port: number;
  readonly table: Record<string, Answer>;
  /** The requests in the order in which they came. */
  readonly asked: readonly Asked[];
  /** Connections accepted so far. */
  readonly connections: () => number;
  /** The most requests that were open at one time. */
  readonly openMax: () => number;
  close(): Promise<void>;
}

export async function startFakeNode(table: Record<string, Answer>): Promise<FakeNode> {
  const asked: Asked[] = [];
  let connections = 0;
  let open = 0;
  let openMax = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    open += 1;
    openMax = Math.max(openMax, open);
    response.on('close', () => {
      open -= 1;
    });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const path = request.url ?? '';
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Asked['body'];
    asked.push({ path, body, headers: request.headers });
    // What is asked at the same time shall be open at the same time.
    await new Promise((resolve) => setImmediate(resolve));
    const entry = path in table ? table[path] : new Reply(405, '<html>405</html>');
    const reply = await (typeof entry === 'function' ? entry(body) : entry);
    if (reply instanceof Reply) response.writeHead(reply.status, { ...reply.headers }).end(reply.text);
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply));
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  server.on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    table,
    asked,
    connections: () => connections,
    openMax: () => openMax,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
