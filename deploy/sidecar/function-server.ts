import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Logger } from 'pino';
import type { AclFile } from './acl-file.ts';
import { BodyReader, type BodyRefusal } from './body.ts';
import { claimedIdentity } from './claimed-identity.ts';
import type { FunctionName } from './config.ts';
import { buildEvent, EVENT_BYTES_MAX, traceIdOf } from './event.ts';
import { type InvokeOutcome, invokeFunction } from './invoke.ts';
import type { Metrics } from './metrics.ts';
import { decodePath, splitTarget } from './path.ts';
import type { FunctionPool, PoolRefusalReason } from './pool.ts';
import { type Problem, problemDocument, statusOf } from './problem.ts';
import { type FunctionFailure, type FunctionResponse, inferResponse } from './response.ts';
import { chooseFunction, hostnameOf } from './routes.ts';

export interface FunctionServerOptions {
  readonly pools: ReadonlyMap<FunctionName, FunctionPool>;
  readonly acl: AclFile;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Called when `pay` answered 202: there is a payment to be driven on. */
  readonly onAccepted: () => void;
  readonly timeouts?: Partial<RequestTimeouts>;
}

/** How long a client may take to send, in milliseconds. */
export interface RequestTimeouts {
  readonly headersMs: number;
  readonly requestMs: number;
  readonly checkIntervalMs: number;
}

const HEADER_BYTES_MAX = 16 * 1024;
const HEADER_COUNT_MAX = 100;
const CONNECTIONS_MAX = 2_048;
const KEEP_ALIVE_MS = 65_000;
const RETRY_AFTER_SECONDS = 1;

const TOO_BUSY: Problem = {
  code: 'throttled',
  detail: 'All instances are busy. Nothing was done.',
  retryAfterSeconds: RETRY_AFTER_SECONDS,
};
const DRAINING: Problem = {
  code: 'draining',
  detail: 'The service is shutting down. Nothing was done.',
  retryAfterSeconds: RETRY_AFTER_SECONDS,
};
const BODY_TOO_LARGE: Problem = {
  code: 'body_too_large',
  detail: 'The request is larger than a function takes: 6 MiB, its envelope and base64 included.',
};
const REFUSALS: Readonly<Record<Exclude<PoolRefusalReason, 'abandoned'>, Problem>> = {
  queue_full: TOO_BUSY,
  queue_timeout: TOO_BUSY,
  draining: DRAINING,
  no_instance: {
    code: 'no_instance',
    detail: 'No instance of the function answers. Nothing was done.',
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  },
};

/** What is known of a request before its body is read. */
interface Admitted {
  readonly pool: FunctionPool;
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly hostname: string;
}

/** A request under way. */
interface Exchange {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly startedAtMs: number;
  readonly sourceIp: string;
  functionName: FunctionName | 'none';
}

/** The function URLs: HTTP in, one invoke, the function's response out. */
export class FunctionServer {
  readonly server: Server;
  readonly #options: FunctionServerOptions;
  readonly #bodies = new BodyReader();
  #draining = false;

  constructor(options: FunctionServerOptions) {
    this.#options = options;
    this.server = createServer(
      {
        headersTimeout: options.timeouts?.headersMs ?? 10_000,
        requestTimeout: options.timeouts?.requestMs ?? 30_000,
        connectionsCheckingInterval: options.timeouts?.checkIntervalMs ?? 1_000,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: HEADER_BYTES_MAX,
      },
      (message, response) => this.#serve(message, response),
    );
    // Node would silently drop the headers above its own limit; `#admit` refuses them aloud.
    this.server.maxHeadersCount = 0;
    this.server.maxConnections = CONNECTIONS_MAX;
    this.server.on('clientError', (error: Error & { code?: string }, socket: Socket) =>
      this.#refuseUnreadable(error, socket),
    );
    this.server.on('checkExpectation', (message: IncomingMessage, response: ServerResponse) =>
      this.#refuse(this.#begin(message, response), {
        code: 'expectation_failed',
        detail: 'Only Expect: 100-continue is understood.',
      }),
    );
  }

  /** Takes no new connection; resolves when every request that was under way is answered. */
  drain(): Promise<void> {
    this.#draining = true;
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeIdleConnections();
    });
  }

  #begin(message: IncomingMessage, response: ServerResponse): Exchange {
    const address = message.socket.remoteAddress ?? '';
    return {
      message,
      response,
      requestId: randomUUID(),
      startedAtMs: performance.now(),
      sourceIp: address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address,
      functionName: 'none',
    };
  }

  #serve(message: IncomingMessage, response: ServerResponse): void {
    const exchange = this.#begin(message, response);
    this.#answer(exchange).catch((error: unknown) => {
      this.#options.logger.error({ requestId: exchange.requestId, err: error }, 'request failed');
      if (response.headersSent) response.destroy();
      else this.#refuse(exchange, { code: 'internal', detail: 'Internal error.' });
    });
  }

  async #answer(exchange: Exchange): Promise<void> {
    const admitted = this.#admit(exchange);
    if ('code' in admitted) return this.#refuse(exchange, admitted);
    const reading = this.#bodies.read(exchange.message);
    const body = reading instanceof Promise ? await reading : reading;
    if (typeof body === 'string') return this.#refuseBody(exchange, body);
    try {
      await this.#invoke(exchange, admitted, body);
    } finally {
      this.#bodies.free(body);
    }
  }

  /** Everything that can be refused by the head alone. */
  #admit(exchange: Exchange): Admitted | Problem {
    const { message } = exchange;
    if (this.#draining) return DRAINING;
    const malformed = checkHead(message);
    if (malformed !== undefined) return malformed;
    const hostname = hostnameOf(message.headers.host ?? 'localhost');
    if (hostname === undefined) return { code: 'request_invalid', detail: 'The Host header is malformed.' };
    const target = splitTarget(message.url ?? '');
    const path = target === undefined ? undefined : decodePath(target.rawPath);
    if (target === undefined || path === undefined) {
      return { code: 'path_invalid', detail: 'The path is malformed or ambiguous.' };
    }
    const functionName = chooseFunction(hostname, path);
    const pool = functionName === undefined ? undefined : this.#options.pools.get(functionName);
    if (functionName === undefined || pool === undefined) {
      return { code: 'route_not_found', detail: 'No function answers at this address.' };
    }
    exchange.functionName = functionName;
    const method = message.method ?? '';
    const identity = claimedIdentity(message.headers);
    if (!this.#options.acl.allows({ caller: exchange.sourceIp, identity, method, functionName, path })) {
      this.#options.logger.warn(
        {
          audit: 'acl_denied',
          caller: exchange.sourceIp,
          identity,
          method,
          function: functionName,
          path,
          requestId: exchange.requestId,
        },
        'access denied',
      );
      return { code: 'acl_denied', detail: 'The access policy does not allow this.' };
    }
    return { pool, ...target, hostname };
  }

  async #invoke(exchange: Exchange, admitted: Admitted, body: Buffer | undefined): Promise<void> {
    const { message, response, requestId, sourceIp } = exchange;
    const { pool } = admitted;
    const { functionName } = pool;
    const nowMs = Date.now();
    const traceId = traceIdOf(requestId, nowMs);
    const port = message.socket.localPort ?? 0;
    const event = buildEvent(message, body?.length === 0 ? undefined : body, {
      ...admitted,
      functionName,
      requestId,
      traceId,
      sourceIp,
      nowMs,
      port,
    });
    // Three bytes is the most that a UTF-16 unit becomes, so short events need no count.
    if (event.length * 3 > EVENT_BYTES_MAX && Buffer.byteLength(event) > EVENT_BYTES_MAX) {
      return this.#refuseBody(exchange, 'body_too_large');
    }
    // A client that leaves takes its request out of the queue, but never out of an instance.
    const outcome = await invokeFunction(pool, event, traceId, response);
    if (outcome.kind !== 'answered') return this.#reportOutcome(exchange, outcome);
    const invokeMs = performance.now() - exchange.startedAtMs;
    const inferred = inferResponse(outcome.answer);
    if (inferred.kind === 'failure') return this.#reportFailure(exchange, inferred);
    this.#send(exchange, traceId, inferred);
    this.#options.metrics.observeInvoke(functionName, invokeMs);
    if (functionName === 'pay' && inferred.status === 202) this.#options.onAccepted();
  }

  #send(exchange: Exchange, traceId: string, { status, headers, body }: FunctionResponse): void {
    const { message, requestId } = exchange;
    const lines = [...headers, 'x-amzn-requestid', requestId, 'x-amzn-trace-id', traceId];
    const bodiless = message.method === 'HEAD' || status === 204 || status === 304;
    if (!bodiless) lines.push('content-length', String(Buffer.byteLength(body)));
    this.#finish(exchange, status, lines, bodiless ? '' : body);
  }

  #reportFailure(exchange: Exchange, failure: FunctionFailure): void {
    this.#options.logger.error(
      {
        requestId: exchange.requestId,
        function: exchange.functionName,
        code: failure.code,
        reason: failure.reason,
      },
      'function failed',
    );
    this.#refuse(exchange, { code: failure.code, detail: detailOfFailure(exchange.message.method) });
  }

  #reportOutcome(exchange: Exchange, outcome: Exclude<InvokeOutcome, { kind: 'answered' }>): void {
    if (outcome.kind === 'refused') {
      if (outcome.reason === 'abandoned') {
        this.#options.metrics.countRejection('abandoned');
        exchange.response.destroy();
      } else {
        this.#refuse(exchange, REFUSALS[outcome.reason], outcome.reason);
      }
      return;
    }
    const code = outcome.kind === 'timed_out' ? 'function_timeout' : 'instance_lost';
    this.#options.logger.error(
      { requestId: exchange.requestId, function: exchange.functionName, code, reason: outcome.reason },
      'no answer from the instance',
    );
    this.#refuse(exchange, { code, detail: detailOfFailure(exchange.message.method) });
  }

  #refuseBody(exchange: Exchange, refusal: BodyRefusal): void {
    if (refusal === 'aborted') exchange.response.destroy();
    else if (refusal === 'throttled') this.#refuse(exchange, TOO_BUSY, 'memory');
    else this.#refuse(exchange, BODY_TOO_LARGE);
  }

  #refuse(exchange: Exchange, problem: Problem, reason: string = problem.code): void {
    this.#options.metrics.countRejection(reason);
    const document = problemDocument(problem, exchange.requestId);
    const lines = ['content-type', 'application/problem+json', 'cache-control', 'no-store'];
    lines.push('x-amzn-requestid', exchange.requestId, 'content-length', String(Buffer.byteLength(document)));
    if (problem.retryAfterSeconds !== undefined) lines.push('retry-after', String(problem.retryAfterSeconds));
    this.#finish(exchange, statusOf(problem.code), lines, document);
  }

  #finish(exchange: Exchange, status: number, lines: string[], body: string | Buffer): void {
    const { message, response, requestId, functionName, startedAtMs, sourceIp } = exchange;
    if (this.#draining) lines.push('connection', 'close');
    response.writeHead(status, lines).end(body);
    this.#options.metrics.countRequest(functionName, status);
    // Readings come by the second from health checks and dashboards; what may change something is on record.
    const level = message.method === 'GET' || message.method === 'HEAD' ? 'debug' : 'info';
    if (!this.#options.logger.isLevelEnabled(level)) return;
    this.#options.logger[level](
      {
        requestId,
        function: functionName,
        method: message.method,
        path: message.url?.split('?', 1)[0],
        status,
        caller: sourceIp,
        durationMs: Math.round((performance.now() - startedAtMs) * 100) / 100,
      },
      'request',
    );
  }

  /** What node's parser gave up on: there is no request to answer, only a socket. */
  #refuseUnreadable(error: Error & { code?: string }, socket: Socket): void {
    const problem = unreadable(error.code);
    const requestId = randomUUID();
    this.#options.logger.info(
      { requestId, caller: socket.remoteAddress, code: problem.code, reason: error.message },
      'unreadable request',
    );
    this.#options.metrics.countRejection(problem.code);
    this.#options.metrics.countRequest('none', statusOf(problem.code));
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const document = problemDocument(problem, requestId);
    socket.end(
      `HTTP/1.1 ${statusOf(problem.code)} Refused\r\ncontent-type: application/problem+json\r\n` +
        `x-amzn-requestid: ${requestId}\r\ncontent-length: ${Buffer.byteLength(document)}\r\n` +
        `connection: close\r\n\r\n${document}`,
    );
  }
}

/** Listens and answers the port, which differs from the asked one when that is 0. */
export function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** What node lets through although readers of it may differ. */
function checkHead(message: IncomingMessage): Problem | undefined {
  const { rawHeaders } = message;
  if (rawHeaders.length > HEADER_COUNT_MAX * 2) {
    return { code: 'headers_too_large', detail: `More than ${HEADER_COUNT_MAX} headers.` };
  }
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
    else if (name === '__proto__')
      return { code: 'request_invalid', detail: 'A header has a reserved name.' };
  }
  return hosts > 1 ? { code: 'request_invalid', detail: 'More than one Host header.' } : undefined;
}

function unreadable(errorCode: string | undefined): Problem {
  switch (errorCode) {
    case 'HPE_HEADER_OVERFLOW':
      return { code: 'headers_too_large', detail: `The headers exceed ${HEADER_BYTES_MAX} bytes.` };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { code: 'request_timeout', detail: 'The request did not arrive in time.' };
    default:
      return { code: 'request_invalid', detail: 'This is not a well-formed HTTP request.' };
  }
}

/** For a function that gave no response. What changes something may have been done all the same. */
function detailOfFailure(method: string | undefined): string {
  if (method === 'GET' || method === 'HEAD') return 'Internal Server Error.';
  return 'Internal Server Error. It is not known what became of the request: repeat it with the same Idempotency-Key.';
}
