import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { inspectNode } from '../../../deploy/local/network.ts';
import { NETWORK_FACTS } from '../../../shared/runtime/tron-networks.ts';

const KEY = 'c0bdd7c088f832ef58cdce277d7f8cf6ab0aedbd557a2b07088beaa6552d5992';
const USDT = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';

let folder: string;
let keyFile: string;
let server: Server;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'network-'));
  keyFile = join(folder, 'key');
  writeFileSync(keyFile, KEY);
});

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Block 0 as java-tron shows it: without a number, since that is zero. */
const genesisBlock = (blockID: string) =>
  JSON.stringify({ blockID, block_header: { raw_data: { parentHash: '0'.repeat(64) } } });

/** A node that answers this to everything; `inspectNode` asks it for block 0. */
async function serve(answer: string, status = 200): Promise<string> {
  server = createServer((_, response) => response.writeHead(status).end(answer));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const inspect = (url: string, isProduction = false, torProxy?: string) =>
  inspectNode({ kind: 'node', url, keyFile, usdtAddress: USDT, torProxy }, isProduction);

describe('another node', () => {
  it('is known by its block 0, and pays from the wallet of the key', async () => {
    const genesisBlockId = '0'.repeat(16) + 'ab'.repeat(24);
    const url = await serve(genesisBlock(genesisBlockId));
    expect(await inspect(url)).toMatchObject({
      network: 'private',
      genesisBlockId,
      walletAddress: 'TPEehWNrwReYU9D9bLy8fQV9aiioyXzsH8',
    });
  });

  it('is refused when it serves the main net, unless the configuration is production', async () => {
    const url = await serve(genesisBlock(NETWORK_FACTS.mainnet.genesisBlockId ?? ''));
    await expect(inspect(url)).rejects.toThrow(
      "serves TRON's main net, where payments are real money: refused",
    );
    expect(await inspect(url, true)).toMatchObject({ network: 'mainnet' });
  });

  it.each([
    ['{}', 200, 'a senseless answer'],
    ['{"Error":"class java.lang.X"}', 200, 'answered with an error'],
    ['<html>', 200, 'not JSON'],
    ['{}', 503, 'status 503'],
  ])('that answers %s with status %d is refused with a reason', async (answer, status, reason) => {
    await expect(inspect(await serve(answer, status))).rejects.toThrow(reason);
  });

  it('is never asked around Tor', async () => {
    let asked = 0;
    const url = await serve('{}');
    server.on('request', () => {
      asked += 1;
    });
    await expect(inspect(url, false, 'socks5h://127.0.0.1:1')).rejects.toThrow('EPROXY');
    expect(asked).toBe(0);
  });

  it('is not asked at all where the key is none', async () => {
    writeFileSync(keyFile, 'no key');
    await expect(inspect('http://127.0.0.1:1')).rejects.toThrow(
      `--key-file ${keyFile}: is not a private key`,
    );
  });
});
