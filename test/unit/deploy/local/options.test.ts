import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readStartOptions } from '../../../../deploy/local/options.ts';

const USDT = 'TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t';
let folder: string;
let keyFile: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'options-'));
  keyFile = join(folder, 'key');
  writeFileSync(keyFile, '00');
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (...args: string[]) => readStartOptions(args);
const readWithNode = (...args: string[]) =>
  read('--node', 'http://127.0.0.1:9190/', '--key-file', keyFile, '--usdt', USDT, ...args);

describe('the command line of npm start', () => {
  it('starts the development chain and pays where nothing is said', () => {
    expect(read()).toMatchObject({
      port: 8090,
      opsPort: 8091,
      payDemo: true,
      once: false,
      fresh: false,
      chain: { kind: 'development', intervalSeconds: 1, port: 9090, faultsPort: 9091 },
    });
  });

  it('answers nothing where help is asked for', () => {
    expect(read('--help')).toBeUndefined();
  });

  it('takes another node on this machine without Tor, and does not pay there unasked', () => {
    expect(readWithNode()).toMatchObject({
      payDemo: false,
      chain: { kind: 'node', url: 'http://127.0.0.1:9190', usdtAddress: USDT, torProxy: undefined },
    });
    expect(readWithNode('--pay-demo')).toMatchObject({ payDemo: true });
  });

  it.each([
    [['--nonsense'], "Unknown option '--nonsense'"],
    [['extra'], /Unexpected argument 'extra'/],
    [['--port', '0'], '--port 0: must be a whole number from 1 to 65535'],
    [['--port', '80a'], '--port 80a: must be a whole number from 1 to 65535'],
    [['--port', '70000'], '--port 70000: must be a whole number from 1 to 65535'],
    [['--port', '9090'], 'port 9090 is given to two parts'],
    [['--interval', '0'], '--interval 0: must be a number from 0.05 to 3600'],
    [['--interval', '1e3'], '--interval 1e3: must be a number from 0.05 to 3600'],
    [['--solid-lag', '-1'], /--solid-lag/],
    [['--key-file', 'f'], '--key-file makes sense only together with --node'],
    [['--pay-demo'], '--pay-demo makes sense only together with --node'],
    [['--node', 'http://127.0.0.1:1'], '--node needs --key-file FILE and --usdt ADDRESS'],
  ])('refuses %j in one line', (args, message) => {
    expect(() => read(...args)).toThrow(message);
    expect(() => read(...args)).toThrow(/^[^\n]+$/);
  });

  it.each([
    [['--fresh'], '--fresh is refused with --node: what was paid on that network stays paid'],
    [['--interval', '1'], '--interval makes sense only without --node'],
    [['--once'], '--once pays, and with --node that is your money: say --pay-demo as well'],
    [['--tor-proxy', 'socks5://127.0.0.1:9050'], 'must look like socks5h://127.0.0.1:9050'],
  ])('refuses %j with another node', (args, message) => {
    expect(() => readWithNode(...args)).toThrow(message);
  });

  it('refuses a node that is not on this machine without Tor', () => {
    const args = ['--node', 'https://nile.example.org', '--key-file', keyFile, '--usdt', USDT];
    expect(() => read(...args)).toThrow('nothing goes there around Tor');
    expect(read(...args, '--tor-proxy', 'socks5h://127.0.0.1:9050')).toMatchObject({
      chain: { torProxy: 'socks5h://127.0.0.1:9050' },
    });
  });

  it('refuses a contract address that is none, and a key file that cannot be read', () => {
    const withUsdt = (usdt: string, file: string) => () =>
      read('--node', 'http://127.0.0.1:1', '--key-file', file, '--usdt', usdt);
    expect(withUsdt(USDT.replace('TR7', 'TR8'), keyFile)).toThrow('is not a TRON address');
    expect(withUsdt(USDT, join(folder, 'absent'))).toThrow(/^--key-file: .*ENOENT/);
  });
});
