import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { socksProbe } from '../../../../../shared/adapters/system/tor-check.ts';
import { freePort } from '../../../../support/ports.ts';

let server: Server | undefined;

afterEach(async () => {
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  server = undefined;
});

async function listen(talk: (socket: Socket) => void): Promise<number> {
  const started = createServer((socket) => {
    socket.on('error', () => {});
    talk(socket);
  });
  server = started;
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  const address = started.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

const greet = (port: number, timeoutMs = 20_000) =>
  socksProbe({ host: '127.0.0.1', port }, timeoutMs).greet();

describe('the greeting of a SOCKS proxy', () => {
  it('offers both methods that Tor takes and is content with the answer', async () => {
    const said: Buffer[] = [];
    const port = await listen((socket) =>
      socket.on('data', (chunk) => {
        said.push(chunk);
        socket.write(Uint8Array.of(5, 0));
      }),
    );
    await expect(greet(port)).resolves.toBeUndefined();
    expect(Buffer.concat(said)).toEqual(Buffer.from([5, 2, 0, 2]));
  });

  it('is content with an answer in pieces', async () => {
    const port = await listen((socket) =>
      socket.once('data', () => {
        socket.setNoDelay();
        socket.write(Uint8Array.of(5), () => setImmediate(() => socket.write(Uint8Array.of(2))));
      }),
    );
    await expect(greet(port)).resolves.toBeUndefined();
  });

  it.each<[string, (socket: Socket) => void, string]>([
    [
      'another protocol',
      (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
      'does not speak SOCKS5',
    ],
    ['SOCKS4', (socket) => socket.write(Uint8Array.of(0, 90)), 'does not speak SOCKS5'],
    ['a method that was not offered', (socket) => socket.write(Uint8Array.of(5, 1)), 'does not speak SOCKS5'],
    ['a refusal', (socket) => socket.write(Uint8Array.of(5, 255)), 'accepts no method of ours'],
    ['nothing but hanging up', (socket) => socket.end(), 'hung up'],
    ['half an answer', (socket) => socket.end(Uint8Array.of(5)), 'hung up'],
  ])('fails on %s', async (_case, talk, reason) => {
    const port = await listen((socket) => socket.once('data', () => talk(socket)));
    await expect(greet(port)).rejects.toThrow(`the Tor proxy ${reason}`);
  });

  it('fails on silence, once its time is up', async () => {
    // It reads what is said, and says nothing.
    const port = await listen((socket) => socket.resume());
    await expect(greet(port, 30)).rejects.toThrow('the Tor proxy did not answer in time');
  });

  it('fails where nobody listens', async () => {
    await expect(greet(await freePort())).rejects.toThrow('the Tor proxy is out of reach (ECONNREFUSED)');
  });
});
