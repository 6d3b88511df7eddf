import type { IncomingMessage } from 'node:http';
import { EVENT_BYTES_MAX } from './event.ts';

/**
 * Bodies wait in memory for an instance, and the queue is longer than memory is large. This many bytes may
 * wait at once; a body beyond that is refused as the queue would refuse it.
 */
const HELD_BYTES_MAX = 64 * 1024 * 1024;

export type BodyRefusal = 'body_too_large' | 'throttled' | 'aborted';

/** Reads bodies whole, within a bound for each and one for all. */
export class BodyReader {
  readonly #heldBytesMax: number;
  #heldBytes = 0;

  constructor(heldBytesMax: number = HELD_BYTES_MAX) {
    this.#heldBytesMax = heldBytesMax;
  }

  /** Answers undefined, without waiting, for a message without a body. */
  read(message: IncomingMessage): Buffer | undefined | Promise<Buffer | BodyRefusal> {
    const length = message.headers['content-length'];
    if (length === undefined && message.headers['transfer-encoding'] === undefined) return undefined;
    if (length === '0') return undefined;
    if (Number(length) > EVENT_BYTES_MAX) return Promise.resolve('body_too_large');
    return this.#collect(message);
  }

  /** Gives back what a body held; called once the event was answered. */
  free(body: Buffer | undefined): void {
    if (body !== undefined) this.#heldBytes -= body.length;
  }

  #collect(message: IncomingMessage): Promise<Buffer | BodyRefusal> {
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      let finished = false;
      const finish = (result: Buffer | BodyRefusal): void => {
        if (finished) return;
        finished = true;
        if (typeof result === 'string') this.#heldBytes -= bytes;
        resolve(result);
      };
      const announced = Number(message.headers['content-length'] ?? Number.NaN);
      message.on('data', (chunk: Buffer) => {
        if (finished) return;
        bytes += chunk.length;
        this.#heldBytes += chunk.length;
        chunks.push(chunk);
        if (bytes > EVENT_BYTES_MAX) finish('body_too_large');
        else if (this.#heldBytes > this.#heldBytesMax) finish('throttled');
        // The stream tells its end a tick later than the last byte.
        else if (bytes === announced) finish(chunks.length === 1 ? chunk : Buffer.concat(chunks));
      });
      message.on('end', () => finish(Buffer.concat(chunks)));
      message.on('error', () => finish('aborted'));
      message.on('close', () => {
        if (!message.complete) finish('aborted');
      });
    });
  }
}
