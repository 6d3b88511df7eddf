/** The command line of `npm run images`. */
import { parseArgs } from 'node:util';

export const USAGE = `Makes the container images of the planes, without a container engine and without a registry.

  npm run images                       all images, into dist/images, and into the engine that answers
  npm run images -- pay tor-proxy      these

  --version V           their version (default LUCID_VERSION, else that of package.json)
  --out DIR             where archives and bills of materials go (default dist/images)
  --no-load             make the archives alone
  --load-only           load the archives that were made before, and make none
  --no-compile-cache    leave out V8's compile cache, whose name depends on the machine's kind of processor
  --list                show what there is to make
  --relock              pin what apt offers now, and the installed Node; read the difference before you commit it
  --architecture A      with --relock: for which kind of machine, amd64 or arm64 (default this one's)
  --help                show this

LUCID_IMAGES names the repository (default pickme/lucid); images are REPOSITORY:NAME-VERSION.
`;

export type ImagesOptions = {
  readonly action: 'build' | 'load-only' | 'list' | 'relock' | 'help';
  /** Debian's name of the kind of machine to lock for; undefined for this one's. */
  readonly architecture: string | undefined;
  /** None: all. */
  readonly names: readonly string[];
  readonly repository: string;
  readonly version: string;
  readonly outDir: string;
  readonly load: boolean;
  readonly withCompileCache: boolean;
};

/** What a tag may hold behind the image's name. */
const VERSION = /^[A-Za-z0-9_.-]{1,100}$/;

/** @throws Error in one line for what is not understood. */
export function readOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  defaults: { readonly version: string; readonly outDir: string; readonly known: readonly string[] },
): ImagesOptions {
  const flag = { type: 'boolean' } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      version: { type: 'string' },
      out: { type: 'string' },
      'no-load': flag,
      'load-only': flag,
      'no-compile-cache': flag,
      list: flag,
      relock: flag,
      architecture: { type: 'string' },
      help: { ...flag, short: 'h' },
    },
  });
  const unknown = positionals.find((name) => !defaults.known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`there is no image ${unknown}; there are ${defaults.known.join(', ')}`);
  }
  const version = values.version ?? (env.LUCID_VERSION || defaults.version);
  if (!VERSION.test(version)) throw new Error(`not a version for a tag: "${version}"`);
  if (values['no-load'] && values['load-only'])
    throw new Error('--no-load and --load-only leave nothing to do');
  const { architecture } = values;
  if (architecture !== undefined && (values.relock !== true || !/^(?:amd64|arm64)$/.test(architecture)))
    throw new Error('--architecture takes amd64 or arm64, and goes with --relock');
  const action =
    (['help', 'list', 'relock', 'load-only'] as const).find((name) => values[name] === true) ?? 'build';
  return {
    action,
    architecture,
    names: positionals,
    repository: env.LUCID_IMAGES || 'pickme/lucid',
    version,
    outDir: values.out ?? defaults.outDir,
    load: values['no-load'] !== true,
    withCompileCache: values['no-compile-cache'] !== true,
  };
}
