/** What images weigh on a machine that holds each layer once, and whether they may. */
import type { PackedLayer } from './archive.ts';

export type BuiltImage = {
  readonly name: string;
  readonly layers: readonly PackedLayer[];
  /** Whether it is a function, to which the budget applies. */
  readonly isFunction: boolean;
};

const MB = 1_000_000;

/** In bytes. */
export const BUDGET = { shared: 135 * MB, perFunction: 8 * MB, functions: 160 * MB } as const;

/** One line for each figure that is over the budget. */
export function checkSizes(images: readonly BuiltImage[]): string[] {
  const functions = images.filter(({ isFunction }) => isFunction);
  const faults: string[] = [];
  const check = (what: string, bytes: number, most: number) => {
    if (bytes > most) faults.push(`${what} ${megabytes(bytes)}, the budget is ${megabytes(most)}`);
  };
  for (const { name, layers } of functions) {
    check(`the layers that ${name} shares weigh`, weigh(layers.slice(0, -1)), BUDGET.shared);
    check(`${name} adds`, weigh(layers.slice(-1)), BUDGET.perFunction);
  }
  check('the functions together weigh', weigh(functions.flatMap(({ layers }) => layers)), BUDGET.functions);
  return faults;
}

/** Each layer once, under the first image that needs it. */
export function formatSizes(images: readonly BuiltImage[]): string {
  const seen = new Set<string>();
  const rows = images.flatMap(({ name, layers }) =>
    layers.map(({ id, layer, archive }, index) => {
      const isShared = seen.has(id);
      seen.add(id);
      const cells = [index === 0 ? name : '', layer.title, isShared ? 'shared' : megabytes(archive.length)];
      return [...cells, index === layers.length - 1 ? megabytes(weigh(layers)) : ''];
    }),
  );
  const all = ['together', '', '', megabytes(weigh(images.flatMap(({ layers }) => layers)))];
  return formatTable([['image', 'layer', 'adds', 'in all'], ...rows, all], 2);
}

/** @param figures how many columns, from the right, hold figures and are aligned to the right. */
export function formatTable(rows: readonly (readonly string[])[], figures = 0): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const align = (cell: string, column: number) =>
    column < widths.length - figures ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return rows.map((row) => row.map(align).join('   ').trimEnd()).join('\n');
}

/** Of distinct layers, in bytes. */
export function weigh(layers: readonly PackedLayer[]): number {
  const byId = new Map(layers.map(({ id, archive }) => [id, archive.length]));
  return [...byId.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function megabytes(bytes: number): string {
  return `${(bytes / MB).toFixed(1)} MB`;
}
