/** The static program that supervises and probes a service, where an image has no shell to do it. */
import { access, readFile } from 'node:fs/promises';

const BUILD = new URL('../keeper/build-keeper.ts', import.meta.url);

/** Its bytes; undefined as long as this repository has no keeper. */
export async function readKeeper(): Promise<Buffer | undefined> {
  const isThere = await access(BUILD).then(
    () => true,
    () => false,
  );
  if (!isThere) return undefined;
  const { buildKeeper } = (await import(BUILD.href)) as { buildKeeper: () => Promise<string> };
  return await readFile(await buildKeeper());
}
