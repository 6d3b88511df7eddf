/**
 * Who is where in the network of the test. All of it is one loopback device on which every address is local, so a
 * packet to any address at all is delivered, and captured, on this machine. The addresses are those kept for
 * examples (RFC 5737): nobody owns them.
 */

/** The development chain, and the name by which the exits alone can find it. */
export const CHAIN = { host: '198.51.100.7', port: 9090, faultsPort: 9091, name: 'node.chain.test' } as const;
/** What every exit relay dials from. */
export const EXIT = '198.51.100.6';
/** What the onion service's Tor dials the chain from. */
export const ONION_SERVICE = '198.51.100.8';
/** What the judge reads the chain's ledger from. */
export const JUDGE = '198.51.100.9';
/** The resolver in /etc/resolv.conf: nobody has any business with it. */
export const RESOLVER = '198.51.100.53';
/** The resolver of the exits. */
export const EXIT_RESOLVER = '198.51.100.54';
/** The Tor of the payment functions, on the subnet of `tor_network`. */
export const PROXY = { host: '172.35.0.2', port: 9050 } as const;
/** Where packets go that only show that the capture has come so far. */
export const BEACON = '203.0.113.1';
