/**
 * Stands for the package `tr46` in the bundles. The MongoDB driver brings it, for the host names of connection
 * strings, with 230 kB of Unicode tables; Node has the same algorithm (UTS #46) built in. Only, Node lets a label
 * of broken punycode pass, which then no name server knows.
 */
import { domainToASCII, domainToUnicode } from 'node:url';

/** @returns the ASCII form, or null where the name is not valid. */
export function toASCII(domain: string): string | null {
  return domainToASCII(domain) || null;
}

export function toUnicode(domain: string): { domain: string; error: boolean } {
  const unicode = domainToUnicode(domain);
  return { domain: unicode, error: unicode === '' && domain !== '' };
}
