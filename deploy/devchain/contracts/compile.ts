import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import committed from './tether-token.json' with { type: 'json' };

/** A compiled contract as it is committed beside its source. */
export type CompiledContract = {
  readonly name: string;
  readonly compiler: string;
  readonly abi: readonly unknown[];
  /** Creation code in hex, without constructor arguments. */
  readonly bytecode: string;
};

const SOURCE = new URL('./tether-token.sol', import.meta.url);
const COMPILED = new URL('./tether-token.json', import.meta.url);
const CONTRACT = 'TetherToken';

/** Compiles the token by solc, the same bytes every time. `paris` keeps to opcodes that every TRON node knows. */
export function compileTetherToken(): CompiledContract {
  // Loading solc costs a second: only compiling needs it.
  const solc = createRequire(import.meta.url)('solc') as {
    compile(input: string): string;
    version(): string;
  };
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: 'Solidity',
        sources: { 'tether-token.sol': { content: readFileSync(SOURCE, 'utf8') } },
        settings: {
          optimizer: { enabled: true, runs: 200 },
          evmVersion: 'paris',
          // Without the metadata hash a changed comment does not change the code.
          metadata: { bytecodeHash: 'none' },
          outputSelection: { '*': { [CONTRACT]: ['abi', 'evm.bytecode.object'] } },
        },
      }),
    ),
  ) as {
    errors?: { severity: string; formattedMessage: string }[];
    contracts: Record<string, Record<string, { abi: unknown[]; evm: { bytecode: { object: string } } }>>;
  };
  const problem = output.errors?.find(({ severity }) => severity === 'error');
  if (problem !== undefined) throw new Error(problem.formattedMessage);
  const contract = output.contracts['tether-token.sol']?.[CONTRACT];
  if (contract === undefined) throw new Error(`solc gave no ${CONTRACT}`);
  return {
    name: CONTRACT,
    compiler: solc.version(),
    abi: contract.abi,
    bytecode: contract.evm.bytecode.object,
  };
}

/** The committed result; a test recompiles the source and compares. */
export function readTetherToken(): CompiledContract {
  return committed;
}

// Run as a program it writes the artefact anew: `node deploy/devchain/contracts/compile.ts`.
if (import.meta.main) {
  writeFileSync(COMPILED, `${JSON.stringify(compileTetherToken(), undefined, 2)}\n`);
}
