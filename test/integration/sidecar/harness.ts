import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { FunctionName, SidecarConfig } from '../../../deploy/sidecar/config.ts';
import { type Sidecar, type SidecarDeps, startSidecar } from '../../../deploy/sidecar/sidecar.ts';
import { type FakeFunction, FakeRie, type FakeRieOptions } from '../../support/fake-rie.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  readonly bytes: Buffer;
  readonly text: string;
  /** The body as JSON. */
  json(): Record<string, unknown>;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: Record<string, string | string[]> | readonly string[];
  readonly body?: string | Uint8Array;
  /** Leaves as soon as this settles. */
  readonly leaveWhen?: Promise<unknown>;
}

/** A request whose path and headers go out exactly as given; fetch would tidy them. */
export function ask(url: string, path: string, options: AskOptions = {}): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { hostname, port, path, method: options.method ?? 'GET', headers: options.headers ?? {}, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(chunks);
          const text = bytes.toString('utf8');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            rawHeaders: response.rawHeaders,
            bytes,
            text,
            json: () => JSON.parse(text),
          });
        });
      },
    );
    outgoing.on('error', reject);
    void options.leaveWhen?.then(() => outgoing.destroy(new Error('left')));
    outgoing.end(options.body);
  });
}

/** Bytes as they are onto a connection; everything that comes back until the peer closes. */
export function askRaw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect(Number(port), hostname, () => socket.write(bytes, 'latin1'));
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      received += text;
    });
    socket.on('close', () => resolve(received));
    socket.on('error', reject);
  });
}

export interface TestSidecar extends Sidecar {
  readonly logs: Record<string, unknown>[];
  readonly aclFile: string;
  readonly stateDir: string;
}

const closers: (() => Promise<unknown> | unknown)[] = [];

/** Ends all that the helpers below started, last things first. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
}

export function onClose(close: () => Promise<unknown> | unknown): void {
  closers.push(close);
}

export function createFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidecar-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  return folder;
}

export async function startFake(run: FakeFunction, options?: FakeRieOptions): Promise<FakeRie> {
  const rie = await FakeRie.start(run, options);
  closers.push(() => rie.kill());
  return rie;
}

/** A sidecar on free ports that allows everything, before instances at these local ports. */
export async function startTestSidecar(
  ports: Partial<Record<FunctionName, readonly number[]>>,
  changes: Partial<SidecarConfig> & { acl?: string } = {},
  deps: SidecarDeps = {},
): Promise<TestSidecar> {
  const folder = createFolder();
  const aclFile = join(folder, 'test.acl');
  const {
    acl = 'allow * * pay /**\nallow * * settle /**\nallow * * health /**\nallow * * stats /**',
    ...config
  } = changes;
  writeFileSync(aclFile, acl);
  const endpoints = (name: FunctionName) => (ports[name] ?? []).map((port) => ({ host: '127.0.0.1', port }));
  const logs: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void logs.push(JSON.parse(line)) });
  const sidecar = await startSidecar(
    {
      serviceName: 'test',
      plane: 'wallet',
      logLevel: 'debug',
      bindAddress: '127.0.0.1',
      servicePort: 0,
      opsPort: 0,
      functions: {
        pay: endpoints('pay'),
        settle: endpoints('settle'),
        health: endpoints('health'),
        stats: endpoints('stats'),
      },
      aclPolicyFile: aclFile,
      settleIntervalMs: 60_000,
      functionTimeoutMs: 30_000,
      queueMax: 10,
      queueTimeoutMs: 60_000,
      stateDir: undefined,
      shutdownTimeoutMs: 60_000,
      ...config,
    },
    { logger, probeIntervalMs: 20, resolveIntervalMs: 20, ...deps },
  );
  closers.push(() => sidecar.close());
  return { ...sidecar, logs, aclFile, stateDir: join(folder, 'state') };
}

/** Something that the test lets happen. */
export function createGate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
