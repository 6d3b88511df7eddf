/** Loopback ports: is this one free, and which one is? */
import { createServer } from 'node:net';

export const LOOPBACK = '127.0.0.1';

/** A port that another program listens on. */
export class PortBusy extends Error {
  constructor(port: number, use: string, flag: string) {
    super(`port ${port} (${use}) is busy: another program listens on it; choose another with ${flag} PORT`);
    this.name = 'PortBusy';
  }
}

/** Whether one may listen on that port of loopback just now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Below the range from which Linux takes the ports of outgoing connections, so that none of those takes it. */
const RANGE = { from: 20_000, to: 32_000 };
const TRIES = 200;

/**
 * Where this process looks next. Each begins elsewhere, by its process id, and goes on from there: of two that look
 * at the same time none finds what the other has found and does not listen on yet.
 */
let next = (process.pid * 40) % (RANGE.to - RANGE.from);

/**
 * A port that is free now and that will probably be free again when a part restarts on it.
 *
 * @param taken ports that have been given away but are not listened on yet; the answer is added to it.
 */
export async function findFreePort(taken: Set<number>): Promise<number> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const port = RANGE.from + next;
    next = (next + 1) % (RANGE.to - RANGE.from);
    if (!taken.has(port) && (await isPortFree(port))) {
      taken.add(port);
      return port;
    }
  }
  throw new Error(`found no free port between ${RANGE.from} and ${RANGE.to} on ${LOOPBACK}`);
}
