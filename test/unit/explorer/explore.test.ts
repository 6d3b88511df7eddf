import { describe, expect, it } from 'vitest';
import { type Exploration, explore } from '../../explorer/explore.ts';
import type { Model } from '../../explorer/model.ts';
import { MODELS } from '../../explorer/models.ts';
import { BROKEN_RULES } from '../../explorer/mutants.ts';

/** Searches need seconds of a processor that others want too. */
const PATIENCE_MS = 120_000;

const small = MODELS.filter(({ inTests }) => inTests === true);

const searches = new Map<Model, Promise<Exploration>>();
/** Each model is searched once, whichever test asks first. */
function searched(model: Model): Promise<Exploration> {
  const search = searches.get(model) ?? explore(model);
  searches.set(model, search);
  return search;
}

describe('every state of a small world', () => {
  it.each(small)(
    '$name keeps every promise: $about',
    async (model) => {
      const found = await searched(model);
      expect(found.broken).toBe(null);
      expect(found.isComplete).toBe(true);
    },
    PATIENCE_MS,
  );

  it(
    'comes to every state of a payment that the models are about',
    async () => {
      const statuses = new Set<string>();
      for (const model of small) for (const status of (await searched(model)).statuses) statuses.add(status);
      expect([...statuses].sort()).toEqual([
        'accepted',
        'admitted',
        'broadcast',
        'cancelled',
        'confirmed',
        'expired',
        'failed',
        'needs_review',
        'refused',
        'signed',
      ]);
    },
    PATIENCE_MS,
  );

  it(
    'is the same in every run',
    async () => {
      const [model] = small;
      if (model === undefined) throw new Error('there is no small model');
      const [first, second] = [await searched(model), await explore(model)];
      expect({ ...first, durationMs: 0 }).toEqual({ ...second, durationMs: 0 });
    },
    PATIENCE_MS,
  );

  it('is told to be incomplete where the search was bounded', async () => {
    const [model] = small;
    if (model === undefined) throw new Error('there is no small model');
    const found = await explore(model, null, { statesMax: 100, depthMax: Number.POSITIVE_INFINITY });
    expect(found).toMatchObject({ states: 100, isComplete: false, broken: null });
    expect(await explore(model, null, { statesMax: Number.POSITIVE_INFINITY, depthMax: 3 })).toMatchObject({
      depth: 3,
      isComplete: false,
    });
  });
});

describe('rules that are broken in one place', () => {
  it.each(BROKEN_RULES)(
    '$mutant.name: is found, with the way that leads there',
    async ({ mutant, model: modelName }) => {
      const model = MODELS.find(({ name }) => name === modelName);
      if (model === undefined) throw new Error(`there is no model ${modelName}`);
      const { broken } = await explore(model, mutant);
      expect(broken).not.toBe(null);
      expect(broken?.steps[0]).toBe('start');
    },
    PATIENCE_MS,
  );
});
