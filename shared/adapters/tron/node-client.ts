import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ServiceError } from '../../domain/errors.ts';
import type { Dialer } from './dialer.ts';

/** One TRON node's HTTP API. */
export interface NodeClient {
  /** The node's host and port: safe to show, unlike its URL, which may hold a key. */
  readonly host: string;
  /**
   * Posts a JSON body and returns the JSON answer as it came.
   * @throws ServiceError `chain_unavailable` for anything but a usable answer: no connection, too late, not 200,
   *   too large, not JSON, or java-tron's `{"Error": …}` with status 200 (which says nothing about the question)
   */
  post(path: string, body: Readonly<Record<string, unknown>>): Promise<JsonObject>;
}

export type JsonObject = Readonly<Record<string, unknown>>;

export interface NodeClientSettings {
  readonly url: string;
  readonly dialer: Dialer;
  /** Separates this client's connections from others', see `Dialer.agentFor`. */
  readonly purpose: string;
  /** From the first byte dialled, the proxy included, to the last byte of the answer. */
  readonly timeoutMs: number;
  /** TronGrid's key, sent as `TRON-PRO-API-KEY`. */
  readonly apiKey?: (() => string) | undefined;
}

/** A full block with its transactions is the largest thing asked for. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

export function nodeClient(settings: NodeClientSettings): NodeClient {
  const base = new URL(settings.url);
  const agent = settings.dialer.agentFor(base, settings.purpose);
  const send = base.protocol === 'https:' ? httpsRequest : httpRequest;
  const prefix = base.pathname.replace(/\/$/, '');

  function unavailable(why: string, cause?: unknown): ServiceError {
    return new ServiceError('chain_unavailable', `TRON node ${base.host}: ${why}`, {
      retryAfterSeconds: 10,
      cause,
    });
  }

  async function exchange(path: string, body: string): Promise<Buffer> {
    // The signal also covers the way through the proxy, which a socket timeout would miss.
    const signal = AbortSignal.timeout(settings.timeoutMs);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = send(
        {
          host: base.hostname.replace(/^\[|\]$/g, ''),
          port: base.port === '' ? undefined : Number(base.port),
          path: `${prefix}${path}`,
          method: 'POST',
          agent,
          signal,
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            accept: 'application/json',
            ...(settings.apiKey === undefined ? {} : { 'tron-pro-api-key': settings.apiKey() }),
          },
        },
        resolve,
      );
      request.on('error', reject);
      request.end(body);
    });
    if (response.statusCode !== 200) {
      response.resume();
      throw unavailable(`answered with status ${response.statusCode}`);
    }
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response) {
      length += (chunk as Buffer).length;
      if (length > ANSWER_BYTES_MAX) {
        response.destroy();
        throw unavailable('answered with more than can be read');
      }
      chunks.push(chunk as Buffer);
    }
    return Buffer.concat(chunks);
  }

  return {
    host: base.host,
    async post(path, body) {
      let bytes: Buffer;
      try {
        bytes = await exchange(path, JSON.stringify(body));
      } catch (error) {
        if (error instanceof ServiceError) throw error;
        throw unavailable(plainReason(error), error);
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
      if ('Error' in answer)
        throw unavailable(`answered with an error: ${String(answer.Error).slice(0, 120)}`);
      return answer as JsonObject;
    },
  };
}

function plainReason(error: unknown): string {
  if (!(error instanceof Error)) return 'failed';
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return 'did not answer in time';
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? `could not be reached (${code})` : 'could not be reached';
}
