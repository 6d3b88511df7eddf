/**
 * The device to which everything would go that leaves the namespace of the tests: it eats every packet, and counts
 * them.
 */
export const WAY_OUT = 'way-out';
/** From a network that documentation keeps for itself (RFC 5737). */
export const WAY_OUT_ADDRESS = '198.51.100.1/24';
/** On loopback, as on many machines: what an engine would pass on for its containers is asked from there. */
export const RESOLVER = '127.0.0.53';
