import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { Logger } from 'pino';
import { type AccessRequest, type Acl, allowedBy, parseAcl } from './acl.ts';

export interface AclFile {
  allows(request: AccessRequest): boolean;
  close(): void;
}

export interface AclFileOptions {
  readonly logger: Logger;
  /** Told of each reading after the first. */
  readonly onReload?: (outcome: 'ok' | 'failed') => void;
  readonly pollIntervalMs?: number;
}

/**
 * Opens the policy and follows its changes. A broken file at the start is an error; a broken one later keeps
 * the rules in force and says so. It asks for the file's time instead of using file events, which get lost on
 * bind mounts and when an editor replaces the file.
 *
 * @throws Error naming the file and each wrong line.
 */
export function openAclFile(path: string, options: AclFileOptions): AclFile {
  let acl = load(path);
  const reload = (): void => {
    try {
      acl = load(path);
      options.logger.info({ file: path, rules: acl.rules.length }, 'access policy reloaded');
      options.onReload?.('ok');
    } catch (error) {
      options.logger.error(
        { file: path, reason: messageOf(error) },
        'access policy is broken, the old one stays',
      );
      options.onReload?.('failed');
    }
  };
  watchFile(path, { interval: options.pollIntervalMs ?? 1_000, persistent: false }, reload);
  return {
    allows: (request) => allowedBy(acl, request) !== undefined,
    close: () => unwatchFile(path, reload),
  };
}

function load(path: string): Acl {
  try {
    return parseAcl(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`${path}: ${messageOf(error)}`, { cause: error });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
