/** Finds the stack that runs on this machine, and makes tokens that it takes. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Secret } from '../../shared/runtime/secret.ts';
import { mintToken } from '../../shared/runtime/token.ts';
import { findRunningStacks, type StackFile } from '../local/state.ts';
import { PaymentClient, type RequestToSign } from './payment-client.ts';

/** What is needed to be let in. */
export type StackAccess = Pick<StackFile, 'url' | 'audience' | 'callerSecretFiles'>;

/** Long enough to paste a command, short enough to forget it. */
export const TOKEN_LIFETIME_SECONDS = 3_600;
export const DEFAULT_CALLER = 'gateway';

/**
 * The one stack that runs on the state folder or on one of those in it for other nodes.
 *
 * @throws Error with one line where none runs, or several.
 */
export function findRunningStack(stateDir: string): StackFile {
  const [found, ...more] = findRunningStacks(stateDir);
  if (found === undefined) throw new Error('no stack is running here; start one with: npm start');
  if (more.length > 0) {
    const folders = [found, ...more].map((running) => running.stateDir).join(', ');
    throw new Error(`several stacks are running; choose one with --state: ${folders}`);
  }
  return found.stack;
}

/**
 * Makes a token for one request of a caller.
 *
 * @throws Error with one line where the stack knows no such caller.
 */
export function authorize(
  access: StackAccess,
  request: RequestToSign,
  options: { readonly caller?: string; readonly lifetimeSeconds?: number } = {},
): Promise<string> {
  const { caller = DEFAULT_CALLER, lifetimeSeconds = TOKEN_LIFETIME_SECONDS } = options;
  const secretFile = Object.entries(access.callerSecretFiles).find(([name]) => name === caller)?.[1];
  if (secretFile === undefined) {
    const known = Object.keys(access.callerSecretFiles).join(', ');
    throw new Error(`the stack knows no caller "${caller}", only ${known}`);
  }
  const secret = new Secret(readFileSync(secretFile, 'utf8').replace(/\r?\n$/, ''));
  const { method, path, idempotencyKey = '', body = '' } = request;
  return mintToken({
    caller,
    secret,
    audience: access.audience,
    nowMs: Date.now(),
    lifetimeSeconds,
    tokenId: randomUUID(),
    ...(method === 'GET'
      ? {}
      : {
          request: {
            method,
            path,
            idempotencyKey,
            body: typeof body === 'string' ? Buffer.from(body) : body,
          },
        }),
  });
}

/** A client that pays as the gateway does. */
export function createClient(access: StackAccess): PaymentClient {
  return new PaymentClient({ url: access.url, authorize: async (request) => authorize(access, request) });
}
