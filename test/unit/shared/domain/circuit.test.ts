import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Admission,
  admitCall,
  type Circuit,
  CLOSED_CIRCUIT,
  isTripped,
  openCircuit,
  recordOutcome,
  resetCircuit,
  tripCircuit,
} from '../../../../shared/domain/circuit.ts';

const RULES = { failureThreshold: 3, recoveryTimeoutMs: 1_000, halfOpenMaxCalls: 3, permitMs: 500 };
const OK = { ok: true } as const;
const FAILED = { ok: false, reason: 'nodes away' } as const;

function admit(circuit: Circuit, nowMs: number, id = 'permit'): { circuit: Circuit; admission: Admission } {
  const verdict = admitCall(circuit, RULES, nowMs, id);
  if (!verdict.admitted) throw new Error(verdict.reason);
  return verdict;
}

const fail = (circuit: Circuit, nowMs: number) => {
  const admitted = admit(circuit, nowMs);
  return recordOutcome(admitted.circuit, RULES, admitted.admission, FAILED, nowMs);
};

describe('the circuit', () => {
  it('stays closed, unchanged, while calls succeed', () => {
    const { circuit, admission } = admit(CLOSED_CIRCUIT, 0);
    expect(circuit).toBe(CLOSED_CIRCUIT);
    expect(recordOutcome(circuit, RULES, admission, OK, 0)).toBe(CLOSED_CIRCUIT);
  });

  it('opens at the threshold of failures in a row', () => {
    const once = fail(CLOSED_CIRCUIT, 1);
    const twice = fail(once, 2);
    expect(twice).toMatchObject({ kind: 'closed', failures: 2 });
    expect(fail(twice, 3)).toEqual({
      kind: 'open',
      generation: 1,
      openedAtMs: 3,
      reason: 'nodes away',
      until: 'recovery',
    });
  });

  it('forgets failures when a call succeeds', () => {
    const once = fail(CLOSED_CIRCUIT, 1);
    const { circuit, admission } = admit(once, 2);
    expect(recordOutcome(circuit, RULES, admission, OK, 2)).toMatchObject({ failures: 0 });
  });

  it('refuses while open, and says when to come back', () => {
    const open = openCircuit(CLOSED_CIRCUIT, 'nodes away', 100);
    expect(admitCall(open, RULES, 1_099, 'p')).toEqual({
      admitted: false,
      retryAtMs: 1_100,
      reason: 'nodes away',
    });
  });

  it('lets probes through after the recovery timeout, and closes after enough successes', () => {
    let circuit: Circuit = openCircuit(CLOSED_CIRCUIT, 'nodes away', 0);
    for (const id of ['a', 'b', 'c']) {
      const admitted = admit(circuit, 1_000, id);
      circuit = recordOutcome(admitted.circuit, RULES, admitted.admission, OK, 1_000);
    }
    expect(circuit).toEqual({ kind: 'closed', generation: 3, failures: 0 });
  });

  it('opens again at the first failure of a probe', () => {
    const { circuit, admission } = admit(openCircuit(CLOSED_CIRCUIT, 'x', 0), 1_000);
    expect(recordOutcome(circuit, RULES, admission, FAILED, 1_001)).toMatchObject({
      kind: 'open',
      openedAtMs: 1_001,
    });
  });

  it('is not wedged by probers that died: their permits expire', () => {
    let circuit: Circuit = openCircuit(CLOSED_CIRCUIT, 'x', 0);
    for (const id of ['a', 'b', 'c']) circuit = admit(circuit, 1_000, id).circuit;
    expect(admitCall(circuit, RULES, 1_499, 'd')).toMatchObject({ admitted: false, retryAtMs: 1_500 });
    expect(admitCall(circuit, RULES, 1_500, 'd')).toMatchObject({ admitted: true });
  });

  it('pays no heed to an answer from before it changed', () => {
    const early = admit(CLOSED_CIRCUIT, 0).admission;
    const open = openCircuit(CLOSED_CIRCUIT, 'x', 1);
    expect(recordOutcome(open, RULES, early, OK, 2)).toBe(open);
    const { circuit } = admit(open, 1_001, 'probe');
    expect(recordOutcome(circuit, RULES, early, FAILED, 1_002)).toBe(circuit);
  });

  it('pays no heed to an answer while it is open, even to one that was let through to follow what is out', () => {
    const tripped = tripCircuit(CLOSED_CIRCUIT, 'by hand', 1);
    const following = { generation: tripped.generation, permitId: null };
    expect(recordOutcome(tripped, RULES, following, FAILED, 2)).toBe(tripped);
    expect(recordOutcome(tripped, RULES, following, OK, 2)).toBe(tripped);
  });

  it('stays tripped until it is reset, whatever else would open it', () => {
    const tripped = tripCircuit(CLOSED_CIRCUIT, 'by hand', 1);
    expect(isTripped(tripped)).toBe(true);
    expect(openCircuit(tripped, 'nodes away', 2)).toBe(tripped);
    expect(tripCircuit(tripped, 'again', 2)).toBe(tripped);
    expect(admitCall(tripped, RULES, 1_000_000, 'p')).toEqual({
      admitted: false,
      retryAtMs: 1_001_000,
      reason: 'by hand',
    });
    expect(resetCircuit(tripped)).toEqual({ kind: 'closed', generation: 2, failures: 0 });
    expect(isTripped(openCircuit(CLOSED_CIRCUIT, 'nodes away', 1))).toBe(false);
  });

  it('keeps a reason short, as nodes have a say in it', () => {
    const open = openCircuit(CLOSED_CIRCUIT, 'x'.repeat(1_000), 1);
    expect(open).toMatchObject({ reason: 'x'.repeat(300) });
  });

  it('tells whom it holds back while probing why, and when the first permit expires', () => {
    let circuit: Circuit = openCircuit(CLOSED_CIRCUIT, 'x', 0);
    for (const [id, nowMs] of [
      ['a', 1_000],
      ['b', 1_100],
      ['c', 1_200],
    ] as const) {
      circuit = admit(circuit, nowMs, id).circuit;
    }
    expect(admitCall(circuit, RULES, 1_300, 'd')).toEqual({
      admitted: false,
      retryAtMs: 1_500,
      reason: 'probing whether the network has recovered',
    });
  });

  it('spends the permit of the one that answers, and no other', () => {
    let circuit: Circuit = openCircuit(CLOSED_CIRCUIT, 'x', 0);
    for (const id of ['a', 'b', 'c']) circuit = admit(circuit, 1_000, id).circuit;
    const answered = recordOutcome(circuit, RULES, { generation: 2, permitId: 'b' }, OK, 1_100);
    expect(answered).toMatchObject({ successes: 1, permits: [{ id: 'a' }, { id: 'c' }] });
  });

  it('counts one permit once', () => {
    const { circuit, admission } = admit(openCircuit(CLOSED_CIRCUIT, 'x', 0), 1_000);
    const counted = recordOutcome(circuit, RULES, admission, OK, 1_001);
    expect(recordOutcome(counted, RULES, admission, OK, 1_002)).toBe(counted);
  });

  it('pays no heed to a prober whose permit has expired, whether or not another has taken its place', () => {
    const { circuit, admission } = admit(openCircuit(CLOSED_CIRCUIT, 'x', 0), 1_000);
    expect(recordOutcome(circuit, RULES, admission, FAILED, 1_500)).toBe(circuit);
    expect(recordOutcome(circuit, RULES, admission, OK, 1_500)).toBe(circuit);
    expect(recordOutcome(circuit, RULES, admission, FAILED, 1_499)).toMatchObject({ kind: 'open' });
  });

  it('never has more unexpired permits than allowed, and always lets somebody through in the end', () => {
    const step = fc.record({
      waitMs: fc.integer({ min: 0, max: 700 }),
      action: fc.constantFrom('admit', 'succeed', 'fail', 'die'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        let circuit: Circuit = openCircuit(CLOSED_CIRCUIT, 'x', 0);
        let nowMs = 0;
        const held: Admission[] = [];
        for (const [index, { waitMs, action }] of steps.entries()) {
          nowMs += waitMs;
          if (action === 'admit') {
            const verdict = admitCall(circuit, RULES, nowMs, `p${index}`);
            if (verdict.admitted) {
              circuit = verdict.circuit;
              held.push(verdict.admission);
            }
          } else {
            const admission = held.shift();
            if (admission !== undefined && action !== 'die') {
              circuit = recordOutcome(circuit, RULES, admission, action === 'succeed' ? OK : FAILED, nowMs);
            }
          }
          if (circuit.kind === 'half_open') {
            const alive = circuit.permits.filter(({ expiresAtMs }) => expiresAtMs > nowMs);
            expect(alive.length).toBeLessThanOrEqual(RULES.halfOpenMaxCalls);
          }
        }
        expect(admitCall(circuit, RULES, nowMs + 10_000, 'last').admitted).toBe(true);
      }),
    );
  });
});
