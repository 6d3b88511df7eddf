import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { directDialer } from '../../../shared/adapters/tron/dialer.ts';
import { nodeClient } from '../../../shared/adapters/tron/node-client.ts';
import { ServiceError } from '../../../shared/domain/errors.ts';
import { waitUntil } from '../../support/wait-until.ts';
import { recordedText } from '../../unit/shared/adapters/recorded-answers.ts';

/** What the hostile node does with a connection once a request (all of it arrives at once) has come. */
type Behaviour = (socket: Socket, requestNumber: number) => void;

/** Of the tests that wait for it; elsewhere it is none that a machine which stands still for a while would exceed. */
const SHORT_MS = 400;
const TIMEOUT_MS = 20_000;
const API_KEY = 'the-secret-api-key';

let behaviour: Behaviour;
let sockets: Set<Socket>;
let received: string[];
let accepted: number;
let server: ReturnType<typeof createServer>;
let rejections: unknown[];
const noteRejection = (reason: unknown) => rejections.push(reason);

beforeEach(async () => {
  sockets = new Set();
  received = [];
  accepted = 0;
  rejections = [];
  process.on('unhandledRejection', noteRejection);
  process.on('uncaughtException', noteRejection);
  server = createServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (data) => {
      received.push(data.toString());
      behaviour(socket, received.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  process.off('unhandledRejection', noteRejection);
  process.off('uncaughtException', noteRejection);
  expect(rejections).toEqual([]);
});

function client(timeoutMs = TIMEOUT_MS) {
  const { port } = server.address() as AddressInfo;
  return nodeClient({
    url: `http://user:password@127.0.0.1:${port}/secret-path/`,
    dialer: directDialer(),
    purpose: 'test',
    timeoutMs,
    apiKey: () => API_KEY,
  });
}

async function refusal(timeoutMs = TIMEOUT_MS, path = '/wallet/getnowblock'): Promise<ServiceError> {
  const failure = await client(timeoutMs)
    .post(path, {})
    .then(
      (answer) => answer,
      (error: unknown) => error,
    );
  if (!(failure instanceof ServiceError)) throw new Error(`no ServiceError, but ${JSON.stringify(failure)}`);
  return failure;
}

function http(body: string, status = '200 OK', ...headers: string[]): string {
  const lines = [`HTTP/1.1 ${status}`, `content-length: ${Buffer.byteLength(body)}`, ...headers];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** Sends a chunk again and again until the other side is gone. */
function pour(socket: Socket, chunk: string | Buffer, everyMs: number): void {
  const timer = setInterval(() => socket.write(chunk), everyMs);
  socket.on('close', () => clearInterval(timer));
}

describe('a usable answer', () => {
  it('is returned as it came, asked for below the path of the URL and with the key', async () => {
    behaviour = (socket) => socket.write(http('{"number": 5, "list": [null]}'));
    expect(await client().post('/wallet/getnowblock', { num: 1 })).toEqual({ number: 5, list: [null] });
    expect(received[0]).toMatch(/^POST \/secret-path\/wallet\/getnowblock HTTP\/1\.1\r\n/);
    expect(received[0]).toContain(`tron-pro-api-key: ${API_KEY}\r\n`);
    expect(received[0]).toMatch(/\r\n\r\n\{"num":1\}$/);
  });

  it('may be empty', async () => {
    behaviour = (socket) => socket.write(http('{}'));
    expect(await client().post('/wallet/gettransactionbyid', {})).toEqual({});
  });

  it('may be a block of many megabytes, and nothing else that large', async () => {
    const megabytes = http(JSON.stringify({ transactions: 'x'.repeat(8 * 1024 * 1024) }));
    behaviour = (socket) => socket.write(megabytes);
    expect(await client().post('/walletsolidity/getblockbynum', {})).toHaveProperty('transactions');
    expect((await refusal(TIMEOUT_MS, '/walletsolidity/getblock')).message).toMatch(/more than can be read$/);
  });

  it('may come in many pieces', async () => {
    const [head = '', body = ''] = http('{"name":"Müller"}').split('\r\n\r\n');
    behaviour = (socket) => {
      socket.write(`${head}\r\n\r\n`);
      const bytes = [...Buffer.from(body)];
      const timer = setInterval(() => {
        const byte = bytes.shift();
        if (byte === undefined) clearInterval(timer);
        else socket.write(Buffer.of(byte));
      }, 1);
    };
    expect(await client().post('/x', {})).toEqual({ name: 'Müller' });
  });
});

describe('anything else is chain_unavailable, without the path, the credentials or the key', () => {
  const page = recordedText('sol-getchainparameters');
  const error = recordedText('fn-getblockbynum-string');

  it.each<[string, Behaviour, RegExp]>([
    ['a reset', (socket) => socket.resetAndDestroy(), /could not be reached \(ECONNRESET\)$/],
    ['an end without an answer', (socket) => socket.end(), /could not be reached \(ECONNRESET\)$/],
    ['403', (socket) => socket.write(http('{}', '403 Forbidden')), /status 403$/],
    ['429', (socket) => socket.write(http('{}', '429 Too Many Requests')), /status 429$/],
    ['503', (socket) => socket.write(http('{}', '503 Service Unavailable')), /status 503$/],
    ['204', (socket) => socket.write('HTTP/1.1 204 No Content\r\n\r\n'), /status 204$/],
    ['405 with a page', (socket) => socket.write(http(page.text, `${page.status} No`)), /status 405$/],
    ['a page with 200', (socket) => socket.write(http(page.text)), /not JSON$/],
    ['nothing with 200', (socket) => socket.write(http('')), /not JSON$/],
    ['a list', (socket) => socket.write(http('[]')), /not an object$/],
    ['null', (socket) => socket.write(http('null')), /not an object$/],
    ['a text', (socket) => socket.write(http('"{}"')), /not an object$/],
    ['JSON that is cut short', (socket) => socket.write(http('{"a": {')), /not JSON$/],
    [
      'a body that ends before its length',
      (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{}'),
      /could not be reached \(ECONNRESET\)$/,
    ],
    [
      'chunks that end in the middle',
      (socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n'),
      /could not be reached \(ECONNRESET\)$/,
    ],
    ['something that is not HTTP', (socket) => socket.end('SSH-2.0-hello\r\n\r\n'), /could not be reached/],
    [
      'java-tron’s error',
      (socket) => socket.write(http(error.text)),
      /with an error \(JsonFormat\$ParseException\)$/,
    ],
    [
      'an error that repeats what it was sent',
      (socket, number) => socket.write(http(JSON.stringify({ Error: `${received[number - 1]} : ` }))),
      /with an error$/,
    ],
    [
      'an upgrade that nobody asked for',
      (socket) => socket.write('HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n{}'),
      /could not be reached|status 101/,
    ],
    [
      'headers without end',
      (socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}`),
      /HPE_HEADER_OVERFLOW/,
    ],
  ])('%s', async (_, act, message) => {
    behaviour = act;
    const failure = await refusal();
    expect(failure.code).toBe('chain_unavailable');
    expect(failure.message).toMatch(message);
    expect(failure.message).toContain(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    expect(failure.message).not.toMatch(/secret|user|password/);
    expect(received).toHaveLength(1);
  });

  it('more at once than can be read, of which the rest is read, and the next one whole', async () => {
    const megabytes = 'x'.repeat(15 * 1024 * 1024);
    const block = http(JSON.stringify({ transactions: megabytes }));
    const unfinished: Socket[] = [];
    behaviour = (socket) => {
      socket.write(block.slice(0, -1));
      unfinished.push(socket);
    };
    const node = client(60_000);
    const refused: unknown[] = [];
    const asking = Array.from({ length: 5 }, () =>
      node.post('/walletsolidity/getblockbynum', {}).catch((error: unknown) => {
        refused.push(error);
      }),
    );
    // Five of fifteen megabytes are under way together, one of them too many.
    await waitUntil(() => refused.length === 1 && unfinished.length === 5, 30_000);
    for (const socket of unfinished) if (!socket.destroyed) socket.write(block.slice(-1));
    const answers = await Promise.all(asking);
    expect(answers.filter((answer) => answer !== undefined)).toHaveLength(4);
    expect(refused).toEqual([
      expect.objectContaining({ message: expect.stringMatching(/more than can be read$/) }),
    ]);
    behaviour = (socket) => socket.write(block);
    expect(await node.post('/walletsolidity/getblockbynum', {})).toHaveProperty('transactions');
  });

  it('a redirect, which is not followed', async () => {
    behaviour = (socket) => {
      const { port } = server.address() as AddressInfo;
      socket.write(http('{}', '307 Temporary Redirect', `location: http://127.0.0.1:${port}/elsewhere`));
    };
    expect((await refusal()).message).toMatch(/status 307$/);
    expect(received).toHaveLength(1);
  });

  it('a node that nobody listens on', async () => {
    const gone = client();
    await new Promise((resolve) => server.close(resolve));
    await expect(gone.post('/x', {})).rejects.toMatchObject({
      code: 'chain_unavailable',
      message: expect.stringMatching(/could not be reached \(ECONNREFUSED\)$/),
    });
    server.listen(0, '127.0.0.1');
  });

  it.each([
    ['/walletsolidity/getblockbynum', 60],
    // What is no whole block is small: a few requests at once must not fill the memory.
    ['/walletsolidity/gettransactionbyid', 20],
  ])('more than can be read, of which no more than that is read: %s', async (path, chunksMax) => {
    const chunk = Buffer.alloc(1 << 20, 0x20);
    let sent = 0;
    behaviour = (socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n');
      const more = () => {
        while (!socket.destroyed && sent < 200) {
          sent += 1;
          if (!socket.write(chunk)) {
            socket.once('drain', more);
            return;
          }
        }
      };
      more();
    };
    expect((await refusal(TIMEOUT_MS, path)).message).toMatch(/more than can be read$/);
    await waitUntil(() => sockets.size === 0);
    expect(sent).toBeLessThan(chunksMax);
  });
});

describe('the deadline', () => {
  it.each<[string, Behaviour]>([
    ['silence', () => {}],
    [
      'headers that drip',
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n');
        pour(socket, 'x: y\r\n', 20);
      },
    ],
    [
      'a body that drips',
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{');
        pour(socket, ' ', 20);
      },
    ],
    ['interim answers without end', (socket) => pour(socket, 'HTTP/1.1 102 Processing\r\n\r\n', 20)],
  ])('cuts %s off, and closes the connection', async (_, act) => {
    behaviour = act;
    const startedMs = performance.now();
    expect((await refusal(SHORT_MS)).message).toMatch(/did not answer in time$/);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(SHORT_MS - 5);
    await waitUntil(() => sockets.size === 0);
  });

  it('is not outlived by a refused answer whose body never ends', async () => {
    behaviour = (socket) => {
      socket.write('HTTP/1.1 503 No\r\ncontent-length: 1000000\r\n\r\n');
      pour(socket, ' ', 20);
    };
    expect((await refusal()).message).toMatch(/status 503$/);
    await waitUntil(() => sockets.size === 0);
  });
});

describe('connections', () => {
  it('are kept and used again', async () => {
    behaviour = (socket) => socket.write(http('{}'));
    const node = client();
    for (let count = 0; count < 5; count += 1) await node.post('/x', {});
    expect(received).toHaveLength(5);
    expect(accepted).toBe(1);
  });

  it('that died while they were kept are replaced without a word', async () => {
    behaviour = (socket, number) => {
      if (number === 2) socket.resetAndDestroy();
      else socket.write(http(`{"request":${number}}`));
    };
    const node = client();
    expect(await node.post('/x', {})).toEqual({ request: 1 });
    expect(await node.post('/x', {})).toEqual({ request: 3 });
    expect(accepted).toBe(2);
  });

  it('that are new and die are not tried again', async () => {
    behaviour = (socket) => socket.resetAndDestroy();
    await refusal();
    expect(accepted).toBe(1);
  });
});
