import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// Compiling the virtual machine's code takes most of a start: keep it. This must come before the imports.
enableCompileCache(join(import.meta.dirname, '../../.cache/compile'));
const { fail, runCli } = await import('./cli.ts');
await runCli().catch(fail);
