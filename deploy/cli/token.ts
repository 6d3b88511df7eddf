/**
 * `npm run token`: prints a token for the running stack, and nothing else on standard output.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { DEFAULT_STATE_DIR } from '../local/state.ts';
import { EXIT, parseOptions, runCommand, UsageError } from './arguments.ts';
import type { RequestToSign } from './payment-client.ts';
import { authorize, DEFAULT_CALLER, findRunningStack, TOKEN_LIFETIME_SECONDS } from './running-stack.ts';

const HELP = `npm run token -- [options]

Prints a token for the running stack: by itself, one that reads (GET). A token for a POST is bound to the
request's path, idempotency key and body, byte by byte.

  --caller NAME       who calls: gateway (pay, read) or operator (read, approve, operate)   (gateway)
  --method METHOD     GET, or POST with the three below                                     (GET)
  --path PATH         as in the request, without the query                                  (/pay)
  --key KEY           the Idempotency-Key header
  --body TEXT         the body, or
  --body-file FILE    the file that holds it (as with curl --data-binary @FILE)
  --lifetime SECONDS  at most 86400                                                         (3600)
  --state DIR         the state folder of the stack                                         (.local)
`;

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  caller: { type: 'string', default: DEFAULT_CALLER },
  method: { type: 'string' },
  path: { type: 'string' },
  key: { type: 'string' },
  body: { type: 'string' },
  'body-file': { type: 'string' },
  lifetime: { type: 'string' },
  state: { type: 'string', default: DEFAULT_STATE_DIR },
} as const;

const LIFETIME_SECONDS_MAX = 86_400;

await runCommand('npm run token', async () => {
  const values = parseOptions(process.argv.slice(2), OPTIONS);
  if (values.help === true) {
    process.stdout.write(HELP);
    return EXIT.ok;
  }
  const request = readRequest(values);
  const lifetimeSeconds = readLifetime(values.lifetime);
  const stack = findRunningStack(resolve(values.state));
  process.stdout.write(`${await authorize(stack, request, { caller: values.caller, lifetimeSeconds })}\n`);
  return EXIT.ok;
});

function readRequest(values: {
  readonly method?: string;
  readonly path?: string;
  readonly key?: string;
  readonly body?: string;
  readonly 'body-file'?: string;
}): RequestToSign {
  const bodyFile = values['body-file'];
  if (values.body !== undefined && bodyFile !== undefined)
    throw new UsageError('either --body or --body-file');
  const hasBody = values.body !== undefined || bodyFile !== undefined;
  const method = values.method ?? (hasBody || values.key !== undefined ? 'POST' : 'GET');
  if (!/^[A-Z]+$/.test(method)) throw new UsageError(`--method ${method}: must be in capital letters`);
  if (method === 'GET' && (hasBody || values.key !== undefined)) {
    throw new UsageError('a GET has no body and no key');
  }
  const path = values.path ?? '/pay';
  if (!/^\/[^?#\s]*$/.test(path)) {
    throw new UsageError(`--path ${path}: must begin with / and have no query and no white space`);
  }
  return {
    method,
    path,
    ...(values.key === undefined ? {} : { idempotencyKey: values.key }),
    ...(hasBody ? { body: bodyFile === undefined ? (values.body ?? '') : readBody(bodyFile) } : {}),
  };
}

function readBody(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`--body-file: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readLifetime(text: string | undefined): number {
  if (text === undefined) return TOKEN_LIFETIME_SECONDS;
  const seconds = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (seconds < 1 || seconds > LIFETIME_SECONDS_MAX) {
    throw new UsageError(`--lifetime ${text}: must be from 1 to ${LIFETIME_SECONDS_MAX} seconds`);
  }
  return seconds;
}
