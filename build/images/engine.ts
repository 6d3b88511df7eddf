/** Loads archives into a container engine. Which one is the `docker` command's matter: DOCKER_HOST and contexts hold. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

const ANSWER_TIMEOUT_MS = 10_000;
const LOAD_TIMEOUT_MS = 300_000;

/** Answers undefined where an engine answers, else in some words why none does. */
export async function whyNoEngine(): Promise<string | undefined> {
  try {
    await run('docker', ['version', '--format', '{{.Server.Version}}'], { timeout: ANSWER_TIMEOUT_MS });
    return undefined;
  } catch (error) {
    const { code, stderr } = error as Error & { code?: string | number; stderr?: string };
    if (code === 'ENOENT') return 'there is no docker command';
    return stderr?.trim().split('\n').at(-1) || `docker does not answer within ${ANSWER_TIMEOUT_MS / 1000} s`;
  }
}

/**
 * Loads an archive, unless the engine has just that image under that name.
 *
 * @returns whether it was loaded.
 */
export async function loadImage(reference: string, id: string, archivePath: string): Promise<boolean> {
  const present = await run('docker', ['image', 'inspect', '--format', '{{.Id}}', reference]).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  if (present === id) return false;
  await run('docker', ['load', '--quiet', '--input', archivePath], { timeout: LOAD_TIMEOUT_MS });
  return true;
}
