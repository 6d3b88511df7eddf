import { describe, expect, it } from 'vitest';
import { findMissing, type Machine } from '../../../../deploy/local/preflight.ts';

const COLD = { emulator: false, databaseLauncher: false };
const WARM = { emulator: true, databaseLauncher: true };

/** A machine that has all, but for what a test takes away. */
function machine(overrides: Partial<Machine> & { readonly without?: readonly string[] } = {}): Machine {
  const { without = [], ...rest } = overrides;
  const has = (command: string) => command !== 'mongod' && !without.includes(command);
  return {
    platform: 'linux',
    arch: 'x64',
    nodeVersion: '24.21.0',
    env: {},
    probe: async (command) => (has(command) ? 'openjdk version "17.0.15" 2025-04-15' : undefined),
    has,
    exists: () => true,
    ...rest,
  };
}

describe('preflight', () => {
  it('finds nothing missing on a complete machine', async () => {
    expect(await findMissing(machine(), COLD)).toEqual([]);
  });

  it.each([
    ['python3', 'Python 3 is missing: install it with pip'],
    ['java', 'Java is missing: install a JDK 17'],
    ['javac', 'the Java compiler is missing: install a JDK 17, not a JRE'],
    ['mvn', 'Maven is missing: install it (Debian: apt-get install maven)'],
  ])('says what to install where %s is absent', async (command, message) => {
    const missing = await findMissing(machine({ without: [command] }), COLD);
    expect(missing).toHaveLength(1);
    expect(missing[0]).toContain(message);
  });

  it('names all that is missing at once', async () => {
    const missing = await findMissing(machine({ without: ['python3', 'java', 'mvn'] }), COLD);
    expect(missing).toHaveLength(3);
  });

  it('does not ask for tools whose work earlier starts have done', async () => {
    expect(await findMissing(machine({ without: ['python3', 'pip3', 'mvn', 'javac'] }), WARM)).toEqual([]);
  });

  it('does not ask for Java where a database is given, nor for pip where an emulator is', async () => {
    const env = { MONGO_URL: 'mongodb://127.0.0.1', AWS_LAMBDA_RIE: '/opt/rie' };
    expect(await findMissing(machine({ env, without: ['java', 'mvn', 'python3'] }), COLD)).toEqual([]);
  });

  it('notices a Java that is too old, and a pip that is absent', async () => {
    const probe = async (command: string) => (command === 'java' ? 'openjdk version "11.0.2"' : undefined);
    expect(await findMissing(machine({ probe, without: ['pip3'] }), COLD)).toEqual([
      expect.stringContaining('pip is missing'),
      expect.stringContaining('Java 11 is too old: install a JDK 17'),
    ]);
  });

  it('asks for the C++ toolchain where the runtime client was not built', async () => {
    expect(await findMissing(machine({ exists: () => false }), COLD)).toEqual([
      expect.stringContaining('install a C++ toolchain (Debian: apt-get install g++'),
    ]);
  });

  it('asks for the pinned Node where another one runs it', async () => {
    expect(await findMissing(machine({ nodeVersion: '22.18.0' }), COLD)).toEqual([
      expect.stringContaining('Node 22.18.0 runs this, not the pinned Node 24'),
    ]);
  });

  it.each([
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['linux', 'ia32'],
  ])('says in one line that %s on %s is not supported', async (platform, arch) => {
    expect(await findMissing(machine({ platform, arch, exists: () => false }), COLD)).toEqual([
      expect.stringContaining(`${platform} on ${arch} is not supported`),
    ]);
  });
});
