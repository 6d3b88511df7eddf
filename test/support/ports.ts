import { findFreePort } from '../../deploy/local/ports.ts';

const given = new Set<number>();

/**
 * Loopback ports that nobody listens on, all different, and none of those that a server which is free to choose or an
 * outgoing connection is given. Prefer to let a server choose (port 0) where it can tell which it took.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

export function freePort(): Promise<number> {
  return findFreePort(given);
}
