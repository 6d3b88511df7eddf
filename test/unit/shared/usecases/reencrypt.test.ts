import { describe, expect, it } from 'vitest';
import { aesVault } from '../../../../shared/adapters/system/aes-vault.ts';
import { ServiceError } from '../../../../shared/domain/errors.ts';
import { type ReencryptionListener, reencrypt } from '../../../../shared/usecases/reencrypt.ts';
import { MemorySealedAttempts } from '../../../support/memory-sealed-attempts.ts';

const [OLD, NEXT, LOST] = ['1f', '2f', '3f'].map((byte) => () => byte.repeat(32)) as [
  () => string,
  () => string,
  () => string,
];
const vault = aesVault(NEXT, [OLD]);
const contentOf = (paymentId: string, attempt: number) =>
  Buffer.from(`transaction of ${paymentId}/${attempt}`);

/** Payments of so many attempts each, all sealed under one key. */
function storeOf(payments: Readonly<Record<string, number>>, key = OLD): MemorySealedAttempts {
  const store = new MemorySealedAttempts();
  for (const [id, count] of Object.entries(payments)) {
    const attempts = Array.from({ length: count }, (_, index) => ({
      number: index + 1,
      sealed: aesVault(key).seal(contentOf(id, index + 1), id, index + 1),
    }));
    store.payments.set(id, attempts);
  }
  return store;
}

function run(store: MemorySealedAttempts, changes: Partial<ReencryptionListener> = {}) {
  return reencrypt({ attempts: store, vault }, { onProgress: () => {}, onUnreadable: () => {}, ...changes });
}

function expectAllCurrent(store: MemorySealedAttempts): void {
  for (const [id, attempts] of store.payments) {
    for (const { number, sealed } of attempts) {
      expect(Buffer.from(aesVault(NEXT).open(sealed, id, number)).equals(contentOf(id, number))).toBe(true);
    }
  }
}

describe('sealing all attempts anew', () => {
  it('leaves every attempt of every payment readable under the current key alone', async () => {
    const store = storeOf({ a: 1, b: 3, c: 2 });
    await expect(run(store)).resolves.toEqual({ attempts: 6, reencrypted: 6, unreadable: 0, left: 0 });
    expectAllCurrent(store);
  });

  it('holds no more than a page at once, and tells how far it is', async () => {
    const ids = Array.from({ length: 333 }, (_, index) => `pay_${String(index).padStart(4, '0')}`);
    const store = storeOf(Object.fromEntries(ids.map((id) => [id, 1])));
    const seen: number[] = [];
    const report = await run(store, { onProgress: ({ attempts }) => seen.push(attempts) });
    expect(report).toMatchObject({ attempts: 333, reencrypted: 333, left: 0 });
    expect(store.pageMax).toBe(50);
    expect(seen).toEqual([50, 100, 150, 200, 250, 300, 333]);
  });

  it('writes nothing where there is nothing to do', async () => {
    const store = storeOf({ a: 2 }, NEXT);
    await expect(run(store)).resolves.toEqual({ attempts: 2, reencrypted: 0, unreadable: 0, left: 0 });
    expect(store.writes).toBe(0);
  });

  it('goes on where it was broken off', async () => {
    const ids = Array.from({ length: 120 }, (_, index) => `pay_${String(index).padStart(4, '0')}`);
    const store = storeOf(Object.fromEntries(ids.map((id) => [id, 1])));
    const { replace } = store;
    store.replace = (...args) =>
      store.writes < 70
        ? replace.apply(store, args)
        : Promise.reject(new ServiceError('store_unavailable', 'The database is out of reach.'));
    await expect(run(store)).rejects.toMatchObject({ code: 'store_unavailable' });
    store.replace = replace;
    await expect(run(store)).resolves.toEqual({ attempts: 120, reencrypted: 50, unreadable: 0, left: 0 });
    expectAllCurrent(store);
  });

  it('names what it cannot open, seals the rest, and counts what is left', async () => {
    const store = storeOf({ a: 2, b: 1, c: 1 });
    store.payments.set('b', [{ number: 1, sealed: aesVault(LOST).seal(contentOf('b', 1), 'b', 1) }]);
    store.payments.set('c', [{ number: 1, sealed: aesVault(OLD).seal(contentOf('c', 1), 'other', 1) }]);
    const named: unknown[] = [];
    const report = await run(store, { onUnreadable: (...what) => named.push(what) });
    expect(report).toEqual({ attempts: 4, reencrypted: 2, unreadable: 2, left: 2 });
    expect(named).toEqual([
      ['b', 1, 'sealed under another key'],
      ['c', 1, 'damaged, or sealed for another attempt'],
    ]);
  });

  it('changes nothing that has changed since it was read', async () => {
    const store = storeOf({ a: 1 });
    const changed = aesVault(NEXT).seal(contentOf('a', 1), 'a', 1);
    const { replace } = store;
    store.replace = (...args) => {
      const [attempt] = store.payments.get('a') ?? [];
      if (attempt !== undefined) attempt.sealed = changed;
      return replace.apply(store, args);
    };
    await expect(run(store)).resolves.toEqual({ attempts: 1, reencrypted: 0, unreadable: 0, left: 0 });
    expect(store.payments.get('a')?.[0]?.sealed).toBe(changed);
  });

  it('counts what an instance with the old key has sealed behind its back', async () => {
    const store = storeOf({ a: 1, b: 1 });
    let isFirst = true;
    const onProgress = () => {
      if (isFirst) store.payments.get('a')?.push(attemptUnder(OLD, 'a', 2));
      isFirst = false;
    };
    await expect(run(store, { onProgress })).resolves.toEqual({
      attempts: 2,
      reencrypted: 2,
      unreadable: 0,
      left: 1,
    });
    await expect(run(store)).resolves.toMatchObject({ reencrypted: 1, left: 0 });
    expectAllCurrent(store);
  });
});

function attemptUnder(key: () => string, paymentId: string, number: number) {
  return { number, sealed: aesVault(key).seal(contentOf(paymentId, number), paymentId, number) };
}
