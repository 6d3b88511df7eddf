import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from '../support/ports.ts';
import type { Stage } from './stage.ts';

/** The last ones that run without an account: serverless 4 wants a login. */
const PEERS = ['serverless@3.40.0', 'serverless-offline@13.9.0'] as const;
const CACHE = resolve(import.meta.dirname, '../../.cache/bench-peers');
const INSTALL_TIMEOUT_MS = 90_000;

/**
 * Starts serverless-offline on the subject's bundle, installed on demand beside the repository's own packages.
 * It runs the handler in its own process's worker, without RIE. Answers the URL of the function.
 *
 * @throws Error when it cannot be installed or does not start; the benchmark goes on without it.
 */
export async function startServerlessOffline(stage: Stage, bundleDir: string): Promise<string> {
  await install();
  const [httpPort = 0, lambdaPort = 0] = await freePorts(2);
  const project = stage.makeFolder('serverless-offline');
  symlinkSync(join(CACHE, 'node_modules'), join(project, 'node_modules'));
  symlinkSync(join(bundleDir, 'handler.mjs'), join(project, 'handler.mjs'));
  writeFileSync(
    join(project, 'serverless.yml'),
    `service: bench
provider: { name: aws, runtime: nodejs20.x }
plugins: [serverless-offline]
functions:
  pay: { handler: handler.handler, events: [{ httpApi: { method: POST, path: /pay } }] }
custom:
  serverless-offline: { host: 127.0.0.1, httpPort: ${httpPort}, lambdaPort: ${lambdaPort}, noTimeout: true }
`,
  );
  await stage.startProgram(
    process.execPath,
    ['node_modules/serverless/bin/serverless.js', 'offline'],
    httpPort,
    {
      cwd: project,
      // It talks to nobody, and to no account.
      env: {
        CI: '1',
        SLS_TELEMETRY_DISABLED: '1',
        SLS_NOTIFICATIONS_MODE: 'off',
        AWS_ACCESS_KEY_ID: 'none',
        AWS_SECRET_ACCESS_KEY: 'none',
      },
    },
  );
  return `http://127.0.0.1:${httpPort}/pay`;
}

async function install(): Promise<void> {
  if (
    existsSync(join(CACHE, 'node_modules/serverless-offline')) &&
    existsSync(join(CACHE, 'node_modules/serverless'))
  )
    return;
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(join(CACHE, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--save-exact', '--ignore-scripts', '--no-audit', '--no-fund', ...PEERS];
  await promisify(execFile)('npm', args, { cwd: CACHE, timeout: INSTALL_TIMEOUT_MS });
}
