import type { Endpoint, Packet } from '../support/capture.ts';
import { CHAIN, EXIT, EXIT_RESOLVER, JUDGE, ONION_SERVICE, PROXY } from './addresses.ts';

/** On whose behalf a packet may be on the network. What is none of these is a leak. */
export type Party = 'exit' | 'onion service' | 'exit resolver' | 'leak';

/**
 * Every packet that is neither between 127.0.0.0/8 and itself, nor between the functions and their proxy, nor the
 * judge's. What is left may be Tor's own, or it is a leak.
 */
export const FILTER = [
  'not (src net 127.0.0.0/8 and dst net 127.0.0.0/8)',
  'not (src host ::1 and dst host ::1)',
  `not (host ${PROXY.host} and tcp port ${PROXY.port})`,
  `not (host ${JUDGE} and host ${CHAIN.host} and tcp port ${CHAIN.faultsPort})`,
].join(' and ');

/** Who sent a packet, or was sent it. */
export function partyOf({ from, to }: Packet): Party {
  const isWithChain = (host: string) =>
    (from.host === host && isChain(to)) || (to.host === host && isChain(from));
  if (isWithChain(EXIT)) return 'exit';
  if (isWithChain(ONION_SERVICE)) return 'onion service';
  // Tor binds its questions to no address; but nobody else is told of this resolver.
  if ([from, to].some(({ host, port }) => host === EXIT_RESOLVER && port === 53)) return 'exit resolver';
  return 'leak';
}

function isChain({ host, port }: Endpoint): boolean {
  return host === CHAIN.host && port === CHAIN.port;
}
