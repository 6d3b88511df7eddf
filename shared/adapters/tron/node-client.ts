import {
  type ClientRequest,
  type Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ServiceError } from '../../domain/errors.ts';
import { leftOfCallMs } from './call-deadline.ts';
import type { Dialer } from './dialer.ts';

/** One TRON node's HTTP API. */
export interface NodeClient {
  /** The node's host and port: safe to show, unlike its URL, which may hold a key. */
  readonly host: string;
  /**
   * Posts a JSON body and returns the JSON answer as it came.
   * @throws ServiceError `chain_unavailable` for anything but a usable answer: no connection, too late, not 200,
   *   too large, not JSON, or java-tron's `{"Error": …}` with status 200 (which says nothing about the question)
   * @param cut ends the call early, as though its time were over
   */
  post(path: string, body: Readonly<Record<string, unknown>>, cut?: AbortSignal): Promise<JsonObject>;
}

export type JsonObject = Readonly<Record<string, unknown>>;

export interface NodeClientSettings {
  readonly url: string;
  readonly dialer: Dialer;
  /** Separates this client's connections from others', see `Dialer.wayTo`. */
  readonly purpose: string;
  /** From the first byte dialled, the proxy included, to the last byte of the answer. */
  readonly timeoutMs: number;
  /** TronGrid's key, sent as `TRON-PRO-API-KEY`. */
  readonly apiKey?: (() => string) | undefined;
}

/** A full block with its transactions is the largest thing asked for. */
const BLOCK_BYTES_MAX = 16 * 1024 * 1024;
/**
 * All else is small; the largest is an account that thousands of worthless tokens were sent to. Many are asked for at
 * once, and together they must not fill the memory.
 */
const ANSWER_BYTES_MAX = 2 * 1024 * 1024;
/** Of all answers of one node that are being read: walks ask for dozens of blocks at once. */
const BYTES_UNDER_WAY_MAX = 64 * 1024 * 1024;

export function nodeClient(settings: NodeClientSettings): NodeClient {
  const base = new URL(settings.url);
  const send = base.protocol === 'https:' ? httpsRequest : httpRequest;
  const prefix = base.pathname.replace(/\/$/, '');
  let bytesUnderWay = 0;

  function unavailable(why: string, cause?: unknown): ServiceError {
    return new ServiceError('chain_unavailable', `TRON node ${base.host}: ${why}`, {
      retryAfterSeconds: 10,
      cause,
    });
  }

  /** Resolves with the head of the answer; the deadline also ends what waits for the proxy. */
  function dispatch(agent: HttpAgent, path: string, body: string, signal: AbortSignal) {
    signal.throwIfAborted();
    const request = send({
      protocol: base.protocol,
      host: base.hostname.replace(/^\[|\]$/g, ''),
      port: base.port === '' ? undefined : Number(base.port),
      path: `${prefix}${path}`,
      method: 'POST',
      agent,
      // Said aloud, so that no environment variable can switch it off: an exit relay reads what is not encrypted.
      rejectUnauthorized: true,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        accept: 'application/json',
        ...(settings.apiKey === undefined ? {} : { 'tron-pro-api-key': settings.apiKey() }),
      },
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.on('response', resolve);
      request.on('error', reject);
      // A request that is closed without an answer or an error (an upgrade that nobody asked for) has failed too.
      request.on('close', () => reject(new Error('closed without an answer')));
      // A request that has no socket yet would report its end only once the proxy answers.
      const cut = () => {
        request.destroy();
        reject(signal.reason);
      };
      signal.addEventListener('abort', cut, { once: true });
      request.on('close', () => signal.removeEventListener('abort', cut));
    });
    request.end(body);
    return { request, answered };
  }

  async function exchange(agent: HttpAgent, path: string, body: string, signal: AbortSignal) {
    const response = await untilAnswered(() => dispatch(agent, path, body, signal));
    if (response.statusCode !== 200) {
      response.destroy();
      throw unavailable(`answered with status ${response.statusCode}`);
    }
    const bytesMax = path.endsWith('/getblockbynum') ? BLOCK_BYTES_MAX : ANSWER_BYTES_MAX;
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of response) {
        const bytes = (chunk as Buffer).length;
        length += bytes;
        bytesUnderWay += bytes;
        // Leaving the loop destroys the connection.
        if (length > bytesMax || bytesUnderWay > BYTES_UNDER_WAY_MAX)
          throw unavailable('answered with more than can be read');
        chunks.push(chunk as Buffer);
      }
      return Buffer.concat(chunks);
    } finally {
      bytesUnderWay -= length;
    }
  }

  return {
    host: base.host,
    async post(path, body, cut) {
      const timeoutMs = Math.floor(Math.min(settings.timeoutMs, leftOfCallMs()));
      // Looked at by the clock, not by a timer: a process that was frozen would dial before its timers ran.
      if (timeoutMs <= 0) throw unavailable('was not asked, for the time of this call is over');
      const late = AbortSignal.timeout(timeoutMs);
      const signal = cut === undefined ? late : AbortSignal.any([late, cut]);
      const way = settings.dialer.wayTo(base, settings.purpose);
      let bytes: Buffer;
      try {
        bytes = await exchange(way.agent, path, JSON.stringify(body), signal);
        way.noteAnswer();
      } catch (error) {
        // An answer that is of no use came all the way from the node.
        if (error instanceof ServiceError) {
          way.noteAnswer();
          throw error;
        }
        way.noteFailure();
        throw unavailable(signal.aborted ? 'did not answer in time' : plainReason(error), error);
      }
      let answer: unknown;
      try {
        answer = JSON.parse(bytes.toString('utf8'));
      } catch (error) {
        throw unavailable('answered with something that is not JSON', error);
      }
      if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) {
        throw unavailable('answered with JSON that is not an object');
      }
      if ('Error' in answer) throw unavailable(`answered with an error${javaClass(answer.Error)}`);
      return answer as JsonObject;
    },
  };
}

/**
 * Sends again where a kept connection turned out to be dead: the node had closed it while it lay idle, and has
 * not seen the request. Even if it had: all requests are reads, or the same signed bytes. Each try uses up one
 * kept connection, so the last one is made on a new one.
 */
async function untilAnswered(
  dispatch: () => { readonly request: ClientRequest; readonly answered: Promise<IncomingMessage> },
): Promise<IncomingMessage> {
  for (;;) {
    const { request, answered } = dispatch();
    try {
      return await answered;
    } catch (error) {
      if (!request.reusedSocket || !['ECONNRESET', 'EPIPE'].includes(codeOf(error) ?? '')) throw error;
    }
  }
}

function plainReason(error: unknown): string {
  const code = codeOf(error);
  return code === undefined ? 'could not be reached' : `could not be reached (${code})`;
}

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** The class that java-tron names. The rest of its text may repeat what was sent, and is the node's to choose. */
function javaClass(error: unknown): string {
  const [, name] = /^class [\w.]{0,80}?([A-Za-z]\w{0,60}(?:\$\w{1,60})?) : /.exec(String(error)) ?? [];
  return name === undefined ? '' : ` (${name})`;
}
