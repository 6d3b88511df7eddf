import { get } from 'node:http';
import { Client, type Dispatcher } from 'undici';
import type { RieAnswer } from './response.ts';

const INVOKE_PATH = '/2015-03-31/functions/function/invocations';
/** Above RIE's own limit for an answer, so that what RIE lets through is never cut here. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** RIE ends an invoke at the function timeout; only an RIE that hangs itself lasts longer than this beyond it. */
const INVOKE_GRACE_MS = 10_000;
const CONNECT_TIMEOUT_MS = 2_000;
const PROBE_TIMEOUT_MS = 2_000;

/**
 * An invoke that brought no answer. `sent` false: the instance was never reached and did nothing. `sent` true:
 * the invoke may have run, may still be running, and the instance is not free until that is ruled out.
 */
export class InvokeError extends Error {
  readonly sent: boolean;
  readonly timedOut: boolean;

  constructor(cause: Error & { code?: string; syscall?: string }) {
    super(cause.message, { cause });
    this.name = 'InvokeError';
    this.sent = !(cause.syscall === 'connect' || cause.code === 'UND_ERR_CONNECT_TIMEOUT');
    this.timedOut = cause.code === 'UND_ERR_HEADERS_TIMEOUT' || cause.code === 'UND_ERR_BODY_TIMEOUT';
  }
}

/** The way to one RIE. Whoever calls `invoke` holds the instance's lease. */
export interface RieClient {
  /** @throws InvokeError */
  invoke(event: string, traceId: string): Promise<RieAnswer>;
  destroy(): void;
}

/** One kept-alive connection to the emulator at `address` (`ip:port`). */
export function connectRie(address: string, functionTimeoutMs: number): RieClient {
  const answerTimeoutMs = functionTimeoutMs + INVOKE_GRACE_MS;
  const client = new Client(`http://${address}`, {
    connect: { timeout: CONNECT_TIMEOUT_MS, keepAlive: true },
    // RIE never closes an idle connection by itself.
    keepAliveTimeout: 600_000,
    keepAliveMaxTimeout: 600_000,
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
    maxResponseSize: ANSWER_BYTES_MAX,
  });
  return {
    invoke: (event, traceId) =>
      new Promise((resolve, reject) => {
        client.dispatch(
          {
            path: INVOKE_PATH,
            method: 'POST',
            headers: ['content-type', 'application/json', 'x-amzn-trace-id', traceId],
            body: event,
          },
          collectAnswer(resolve, reject),
        );
      }),
    destroy: () => {
      void client.destroy();
    },
  };
}

/** Undici's low-level interface: no stream and no header object for each invoke. */
function collectAnswer(
  resolve: (answer: RieAnswer) => void,
  reject: (error: InvokeError) => void,
): Dispatcher.DispatchHandler {
  let status = 0;
  let first: Buffer | undefined;
  let more: Buffer[] | undefined;
  return {
    onRequestStart() {},
    onResponseStart(_controller, statusCode) {
      status = statusCode;
    },
    onResponseData(_controller, chunk) {
      if (first === undefined) first = chunk;
      else if (more === undefined) more = [first, chunk];
      else more.push(chunk);
    },
    onResponseEnd() {
      resolve({ status, body: more === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(more) });
    },
    onResponseError(_controller, error) {
      reject(new InvokeError(error));
    },
  };
}

/**
 * `alive`: an HTTP server answers. `refused`: nothing listens there, so whatever ran there is gone.
 * `silent`: neither is known.
 */
export type ProbeResult = 'alive' | 'refused' | 'silent';

/**
 * Asks without invoking. The emulator's address has no ping route of its own (that one is on the runtime API's
 * address, which only its container reaches): it answers 404, also in the middle of an invoke, and any answer
 * means that RIE lives.
 */
export function probeRie(address: string): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const request = get(`http://${address}/ping`, { agent: false, timeout: PROBE_TIMEOUT_MS }, (response) => {
      response.resume();
      resolve('alive');
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', (error: Error & { code?: string }) =>
      resolve(error.code === 'ECONNREFUSED' ? 'refused' : 'silent'),
    );
  });
}
