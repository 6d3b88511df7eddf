import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { AnswerParser } from './answer-parser.ts';
import type { RieAnswer } from './response.ts';

const INVOKE_PATH = '/2015-03-31/functions/function/invocations';
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

  constructor(message: string, facts: { sent: boolean; timedOut?: boolean }) {
    super(message);
    this.name = 'InvokeError';
    this.sent = facts.sent;
    this.timedOut = facts.timedOut ?? false;
  }
}

/** The way to one RIE. Whoever calls `invoke` holds the instance's lease. */
export interface RieClient {
  /** @throws InvokeError */
  invoke(event: string, traceId: string): Promise<RieAnswer>;
  destroy(): void;
}

/** `address` is `ip:port`. It connects at the first invoke, and again after a connection was lost. */
export function connectRie(address: string, functionTimeoutMs: number): RieClient {
  return new SocketClient(address, functionTimeoutMs + INVOKE_GRACE_MS);
}

/** An invoke under way. */
interface Pending {
  readonly parser: AnswerParser;
  readonly resolve: (answer: RieAnswer) => void;
  readonly reject: (error: InvokeError) => void;
}

/**
 * One kept-alive connection that carries one invoke at a time, which is all that an instance takes. It writes
 * head and body in one go and reads no more HTTP than RIE speaks; a general client costs a third more time on
 * the way, most of it in system calls.
 */
class SocketClient implements RieClient {
  readonly #host: string;
  readonly #port: number;
  readonly #answerTimeoutMs: number;
  readonly #head: string;
  #socket: Socket | undefined;
  #pending: Pending | undefined;
  #destroyed = false;

  constructor(address: string, answerTimeoutMs: number) {
    const { hostname, port } = new URL(`http://${address}`);
    this.#host = hostname.replace(/^\[|\]$/g, '');
    this.#port = Number(port || 80);
    this.#answerTimeoutMs = answerTimeoutMs;
    this.#head = `POST ${INVOKE_PATH} HTTP/1.1\r\nhost: ${address}\r\ncontent-type: application/json\r\n`;
  }

  async invoke(event: string, traceId: string): Promise<RieAnswer> {
    const socket = this.#socket ?? (await this.#connect());
    if (this.#pending !== undefined) throw new TypeError('an instance takes one invoke at a time');
    const byteLength = Buffer.byteLength(event);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(socket, new InvokeError('no answer in time', { sent: true, timedOut: true }));
      }, this.#answerTimeoutMs);
      this.#pending = {
        parser: new AnswerParser(),
        resolve: (answer) => {
          clearTimeout(timer);
          resolve(answer);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      socket.write(
        `${this.#head}x-amzn-trace-id: ${traceId}\r\ncontent-length: ${byteLength}\r\n\r\n${event}`,
        byteLength === event.length ? 'latin1' : 'utf8',
      );
    });
  }

  destroy(): void {
    this.#destroyed = true;
    this.#socket?.destroy();
  }

  /** Rejects only while nothing was sent. */
  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: this.#host, port: this.#port, noDelay: true, keepAlive: true });
      const giveUp = (error: Error): void => {
        socket.destroy();
        reject(new InvokeError(error.message, { sent: false }));
      };
      const timer = setTimeout(() => giveUp(new Error('no connection in time')), CONNECT_TIMEOUT_MS);
      socket.once('error', giveUp);
      socket.once('close', () => clearTimeout(timer));
      socket.once('connect', () => {
        clearTimeout(timer);
        if (this.#destroyed) {
          giveUp(new Error('closed while connecting'));
          return;
        }
        socket.off('error', giveUp);
        this.#socket = socket;
        socket.on('data', (chunk: Buffer) => this.#read(socket, chunk));
        socket.on('error', (error) => this.#fail(socket, new InvokeError(error.message, { sent: true })));
        socket.on('close', () => this.#fail(socket, new InvokeError('connection closed', { sent: true })));
        resolve(socket);
      });
    });
  }

  #read(socket: Socket, chunk: Buffer): void {
    const pending = this.#pending;
    if (pending === undefined) {
      // Nobody asked: whatever this belongs to, the connection is not to be trusted with the next answer.
      socket.destroy();
      return;
    }
    const state = pending.parser.push(chunk);
    if (state === 'more') return;
    if (state === 'broken') {
      this.#fail(socket, new InvokeError('the answer is not the HTTP that RIE speaks', { sent: true }));
      return;
    }
    this.#pending = undefined;
    if (state.closes) this.#drop(socket);
    pending.resolve(state.answer);
  }

  #fail(socket: Socket, error: InvokeError): void {
    if (this.#socket !== socket) return;
    this.#drop(socket);
    this.#pending?.reject(error);
    this.#pending = undefined;
  }

  #drop(socket: Socket): void {
    this.#socket = undefined;
    socket.destroy();
  }
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
