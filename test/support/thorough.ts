/**
 * Whether `npm run test:slow` asks. What takes long by its numbers alone is then tried in all of them; `npm test`
 * tries as many as it has time for.
 */
export const isThorough = process.env.TEST_THOROUGH === '1';

/** How often a property is tried. */
export function runs(quick: number, thorough: number): { readonly numRuns: number } {
  return { numRuns: isThorough ? thorough : quick };
}
