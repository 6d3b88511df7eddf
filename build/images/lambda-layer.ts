/** AWS's runtime client, as which a function runs, and the emulator that the planes put before it. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ensureRie } from '../rie.ts';
import { stripSymbols } from './elf.ts';
import { FileTree } from './file-tree.ts';
import type { Layer } from './layer.ts';

const CLIENT_DIR = resolve(import.meta.dirname, '../../node_modules/aws-lambda-ric');

export const RUNTIME_DIR = '/var/runtime';
export const RIE_PATH = '/usr/local/bin/aws-lambda-rie';

/** The client's program is one module; the rest of its package is what its addon was built from. */
const CLIENT_FILES = ['index.mjs', 'package.json', 'LICENSE', 'NOTICE', 'THIRD-PARTY-LICENSES'];

export async function makeLambdaLayer(log: (line: string) => void): Promise<Layer> {
  const tree = new FileTree();
  for (const file of CLIENT_FILES) {
    tree.addFile(`${RUNTIME_DIR}/${file}`, await readFile(join(CLIENT_DIR, file)));
  }
  const addon = await readFile(join(CLIENT_DIR, 'rapid-client.node'));
  tree.addFile(`${RUNTIME_DIR}/rapid-client.node`, stripSymbols(addon));

  const { path, source } = await ensureRie({ log });
  const emulator = await readFile(path);
  tree.addFile(RIE_PATH, emulator, 0o755);

  const client = JSON.parse(await readFile(join(CLIENT_DIR, 'package.json'), 'utf8')) as { version: string };
  return {
    title: 'Lambda runtime',
    tree,
    components: [
      {
        name: 'aws-lambda-ric',
        version: client.version,
        purl: `pkg:npm/aws-lambda-ric@${client.version}`,
        license: 'Apache-2.0',
      },
      {
        name: 'aws-lambda-runtime-interface-emulator',
        version: source,
        purl: 'pkg:github/aws/aws-lambda-runtime-interface-emulator',
        license: 'Apache-2.0',
        sha256: createHash('sha256').update(emulator).digest('hex'),
      },
    ],
  };
}
