/** `npm run bench -- <name> [options]`: the benchmarks, by name. */
const BENCHMARKS: Readonly<Record<string, () => Promise<{ run(args: readonly string[]): Promise<void> }>>> = {
  invoke: () => import('./invoke.ts'),
  pay: () => import('./pay.ts'),
  breaker: () => import('./breaker.ts'),
  settle: () => import('./settle.ts'),
  planes: () => import('./planes.ts'),
};

const [name = '', ...args] = process.argv.slice(2);
const load = BENCHMARKS[name];
if (load === undefined) {
  console.error(`usage: npm run bench -- <${Object.keys(BENCHMARKS).join('|')}> [options]`);
  process.exitCode = 2;
} else {
  try {
    await (await load()).run(args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
