import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import type { Tool } from '../support/debian-tool.ts';

/** Keys that take long to make, kept between runs. */
export const NETWORK_CACHE = resolve(import.meta.dirname, '../../.cache/tor-network');

/** Set by `main.ts` for what it starts inside the namespace; holds where the tools are. */
export const NAMESPACE_VARIABLE = 'TPF_TOR_NAMESPACE';

export interface Tools {
  readonly tor: Tool;
  readonly gencert: Tool;
  readonly tcpdump: Tool;
  readonly ip: Tool;
}

export function toolsToText({ tor, gencert, tcpdump, ip }: Tools): string {
  return JSON.stringify({ tor, gencert, tcpdump, ip });
}

/**
 * The tools, where this is the namespace of the test.
 * @throws Error anywhere else: a Tor is only ever started where it cannot reach the public network
 */
export function assertInNamespace(): Tools {
  const text = process.env[NAMESPACE_VARIABLE];
  if (text === undefined)
    throw new Error('these tests run by `npm run test:tor`, in a namespace of their own');
  const tools = JSON.parse(text) as Tools;
  const show = (what: string) =>
    execFileSync(tools.ip.path, ['-o', what, 'show', ...(what === 'link' ? ['up'] : [])], {
      env: { ...tools.ip.env },
      encoding: 'utf8',
    })
      .split('\n')
      .filter((line) => line !== '');
  const devices = show('link');
  if (devices.length !== 1 || !devices[0]?.includes(' lo:')) {
    throw new Error(`there are other network devices than the loopback: ${devices.join('; ')}`);
  }
  return tools;
}
