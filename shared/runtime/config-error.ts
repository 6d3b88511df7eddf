/** One thing that is wrong with the configuration. Values are never named: they could be secrets. */
export interface ConfigProblem {
  /** The key as the environment spells it, or the file where no key is at fault. */
  readonly key: string;
  readonly problem: string;
  /** What would be right. */
  readonly needs: string;
}

/** Everything that is wrong with the configuration at once, so that it is mended in one go. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    const lines = problems.map(({ key, problem, needs }) => `${key} ${problem}; it needs ${needs}`);
    super(`configuration has ${count}:\n  ${lines.join('\n  ')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}
