import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { BodyReader } from '../../../../deploy/sidecar/body.ts';

/** A message whose body the test sends piece by piece. */
function createMessage(headers: Record<string, string>): PassThrough & IncomingMessage {
  return Object.assign(new PassThrough(), { headers, complete: false }) as unknown as PassThrough &
    IncomingMessage;
}

const chunked = () => createMessage({ 'transfer-encoding': 'chunked' });

describe('the reader of bodies', () => {
  it.each([[{}], [{ 'content-length': '0' }]])('waits for nothing when the headers are %o', (headers) => {
    expect(new BodyReader().read(createMessage(headers))).toBeUndefined();
  });

  it('joins the pieces, and is done at the announced length', async () => {
    const message = createMessage({ 'content-length': '4' });
    const reading = new BodyReader().read(message);
    message.write('ab');
    message.write('cd');
    expect(await reading).toEqual(Buffer.from('abcd'));
  });

  it('reads chunks to their end', async () => {
    const message = chunked();
    const reading = new BodyReader().read(message);
    message.write('ab');
    message.end('c');
    expect(await reading).toEqual(Buffer.from('abc'));
  });

  it('refuses an announced body that is too large without reading it', async () => {
    expect(await new BodyReader().read(createMessage({ 'content-length': '6291457' }))).toBe(
      'body_too_large',
    );
  });

  it('refuses a body that grows too large', async () => {
    const message = chunked();
    const reading = new BodyReader().read(message);
    message.write(Buffer.alloc(6 * 1024 * 1024));
    message.write('a');
    expect(await reading).toBe('body_too_large');
  });

  it('tells that the client left before the end', async () => {
    const message = chunked();
    const reading = new BodyReader().read(message);
    message.write('ab');
    message.destroy();
    expect(await reading).toBe('aborted');
  });

  it('holds so many bytes at once and no more, and gives back what is answered, refused or left', async () => {
    const reader = new BodyReader(10);
    const read = async (text: string) => {
      const message = chunked();
      const reading = reader.read(message);
      message.end(text);
      const body = await reading;
      return body instanceof Buffer ? body : String(body);
    };
    const held = await read('12345678');
    expect(held).toBeInstanceOf(Buffer);
    expect(await read('1234')).toBe('throttled');
    const left = chunked();
    const leaving = reader.read(left);
    left.write('12');
    left.destroy();
    expect(await leaving).toBe('aborted');
    // Neither the refused nor the left one is held any more: two bytes still fit.
    expect(await read('12')).toBeInstanceOf(Buffer);
    expect(await read('1')).toBe('throttled');
    if (held instanceof Buffer) reader.free(held);
    expect(await read('12345678')).toBeInstanceOf(Buffer);
  });
});
