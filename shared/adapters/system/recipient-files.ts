import { open } from 'node:fs/promises';
import { ServiceError } from '../../domain/errors.ts';
import { parseTronAddress, type TronAddress } from '../../domain/tron-address.ts';
import type { RecipientPolicy } from '../../ports/recipient-policy.ts';

/** Lists of recipients as files: one base58 address a line; `#` begins a comment. Null where there is no such list. */
export interface RecipientFiles {
  readonly allow: string | null;
  readonly deny: string | null;
}

/** A list of tens of thousands of addresses; whatever is larger is a mistake. */
const BYTES_MAX = 4 * 1024 * 1024;

/**
 * The operator's lists, read again when a file has changed. The deny list wins. A list that is configured and
 * cannot be read, or that has a line which is no address, stops payments: it must not fail open.
 */
export function recipientFiles(files: RecipientFiles): RecipientPolicy {
  const allow = files.allow === null ? null : list(files.allow, 'RECIPIENT_ALLOW_FILE');
  const deny = files.deny === null ? null : list(files.deny, 'RECIPIENT_DENY_FILE');
  return {
    async judge(recipient) {
      if ((await deny?.())?.has(recipient) === true) return 'on_the_deny_list';
      if ((await allow?.())?.has(recipient) === false) return 'not_on_the_allow_list';
      return 'allowed';
    },
  };
}

function list(path: string, setting: string): () => Promise<ReadonlySet<TronAddress>> {
  let known: { readonly version: string; readonly addresses: ReadonlySet<TronAddress> } | undefined;
  return async () => {
    try {
      const file = await open(path, 'r');
      try {
        const { mtimeNs, ctimeNs, ino, size } = await file.stat({ bigint: true });
        // A file that is written in place, or replaced, has another version.
        const version = `${ino}/${size}/${mtimeNs}/${ctimeNs}`;
        if (known?.version === version) return known.addresses;
        if (size > BYTES_MAX) throw unusable(setting, 'is too large');
        known = { version, addresses: readAddresses(await file.readFile('utf8'), setting) };
        return known.addresses;
      } finally {
        await file.close();
      }
    } catch (error) {
      if (error instanceof ServiceError) throw error;
      throw unusable(setting, 'cannot be read', error);
    }
  };
}

function readAddresses(text: string, setting: string): Set<TronAddress> {
  const addresses = new Set<TronAddress>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const entry = line.replace(/#.*$/, '').trim();
    if (entry === '') continue;
    const address = parseTronAddress(entry);
    if (address === undefined) throw unusable(setting, `has no TRON address in line ${index + 1}`);
    addresses.add(address);
  }
  return addresses;
}

function unusable(setting: string, why: string, cause?: unknown): ServiceError {
  return new ServiceError('payments_stopped', `Payments are stopped: the list of ${setting} ${why}.`, {
    retryAfterSeconds: 60,
    cause,
  });
}
