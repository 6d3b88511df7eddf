import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server that listens on one address until it is closed. */
export type Listening = {
  readonly url: string;
  /** Stops listening and cuts what is still open. */
  close(): Promise<void>;
};

export type HttpHandler = (request: IncomingMessage, response: ServerResponse, body: string) => Promise<void>;

/** Larger than the largest transaction that the chain refuses with an answer of its own. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

/**
 * Listens; every request has been read whole before the handler sees it.
 * @throws Error in one clear line when the port is taken.
 */
export async function listen(host: string, port: number, handle: HttpHandler): Promise<Listening> {
  const server = createServer((request, response) => {
    readBody(request)
      .then((body) => handle(request, response, body))
      .catch((error: unknown) => {
        if (response.headersSent || response.destroyed) response.destroy();
        else
          send(
            response,
            500,
            'text/plain',
            error instanceof Error ? (error.stack ?? error.message) : String(error),
          );
      });
  });
  await bind(server, host, port);
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function send(response: ServerResponse, status: number, type: string, body: string): void {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

/** Waits, but no longer than the client does. */
export async function waitForClient(response: ServerResponse, ms: number): Promise<void> {
  const gone = new AbortController();
  const stop = (): void => gone.abort();
  response.once('close', stop);
  await sleep(ms, undefined, { signal: gone.signal }).catch(() => undefined);
  response.off('close', stop);
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new Error(`port ${port} on ${host} is in use: stop what listens there, or choose another port`)
          : error,
      );
    });
    server.listen(port, host, resolve);
  });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Error(`a body may have ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
