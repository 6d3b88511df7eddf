import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Admission,
  admitCall,
  type Circuit,
  type CircuitRules,
  CLOSED_CIRCUIT,
  recordOutcome,
  resetCircuit,
  tripCircuit,
} from '../../../../shared/domain/circuit.ts';

/**
 * Several instances share one circuit, as they do in the breaker document: each decides on what it read last, and
 * its change holds only where nobody changed the circuit in between. Beside it an oracle keeps all that ever
 * happened and works every answer out from that history, by other rules than the circuit's own.
 */

type Step =
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'read'; readonly instance: number }
  /** Reads just before it, as a rule; else it decides on what it read earlier. */
  | { readonly kind: 'call'; readonly instance: number; readonly isFresh: boolean }
  /** Any call that was ever admitted, counted from the newest: answered late, twice, or from an older state. */
  | { readonly kind: 'answer'; readonly instance: number; readonly call: number; readonly ok: boolean }
  | { readonly kind: 'trip' }
  | { readonly kind: 'reset' };

const INSTANCES = 3;
const instance = fc.nat({ max: INSTANCES - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.integer({ min: 0, max: 700 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('read'), instance }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('call'), instance, isFresh: fc.boolean() }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('answer'),
      instance,
      call: fc.oneof(fc.nat({ max: 3 }), fc.nat()),
      ok: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'trip' }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'reset' }) },
);
const rules: fc.Arbitrary<CircuitRules> = fc.record({
  failureThreshold: fc.integer({ min: 1, max: 4 }),
  recoveryTimeoutMs: fc.integer({ min: 1, max: 1_500 }),
  halfOpenMaxCalls: fc.integer({ min: 1, max: 3 }),
  permitMs: fc.integer({ min: 1, max: 600 }),
});

/** A stretch of time in which the circuit was in one state, and all that was said in it. */
interface Era {
  readonly kind: 'closed' | 'open' | 'tripped' | 'half_open';
  readonly beganAtMs: number;
  readonly calls: { readonly id: string; readonly atMs: number; isAnswered: boolean }[];
  readonly answers: boolean[];
}

class History {
  readonly eras: Era[] = [{ kind: 'closed', beganAtMs: 0, calls: [], answers: [] }];
  readonly #rules: CircuitRules;

  constructor(rules: CircuitRules) {
    this.#rules = rules;
  }

  get now(): Era {
    return this.eras.at(-1) as Era;
  }

  begin(kind: Era['kind'], atMs: number): void {
    this.eras.push({ kind, beganAtMs: atMs, calls: [], answers: [] });
  }

  unexpired(atMs: number) {
    const { kind, calls } = this.now;
    if (kind !== 'half_open') return [];
    return calls.filter((call) => !call.isAnswered && atMs < call.atMs + this.#rules.permitMs);
  }

  mayCall(atMs: number): boolean {
    const { kind, beganAtMs } = this.now;
    if (kind === 'closed') return true;
    if (kind === 'tripped') return false;
    if (kind === 'open') return atMs >= beganAtMs + this.#rules.recoveryTimeoutMs;
    return this.unexpired(atMs).length < this.#rules.halfOpenMaxCalls;
  }

  call(id: string, atMs: number): void {
    if (this.now.kind === 'open') this.begin('half_open', atMs);
    if (this.now.kind === 'half_open') this.now.calls.push({ id, atMs, isAnswered: false });
  }

  answer(id: string, era: Era, ok: boolean, atMs: number): void {
    if (era !== this.now) return;
    if (era.kind === 'half_open') {
      const call = this.unexpired(atMs).find((unexpired) => unexpired.id === id);
      if (call === undefined) return;
      call.isAnswered = true;
    }
    era.answers.push(ok);
    if (era.kind === 'closed' && this.failuresInARow() === this.#rules.failureThreshold) {
      this.begin('open', atMs);
    } else if (era.kind === 'half_open' && !ok) {
      this.begin('open', atMs);
    } else if (era.kind === 'half_open' && this.successes() === this.#rules.halfOpenMaxCalls) {
      this.begin('closed', atMs);
    }
  }

  failuresInARow(): number {
    return this.now.answers.length - 1 - this.now.answers.lastIndexOf(true);
  }

  successes(): number {
    return this.now.answers.filter((ok) => ok).length;
  }
}

function play(circuitRules: CircuitRules, steps: readonly Step[]): History {
  const history = new History(circuitRules);
  let stored: Circuit = CLOSED_CIRCUIT;
  let nowMs = 0;
  const begin = { circuit: stored, era: history.now };
  const seen = Array.from({ length: INSTANCES }, () => begin);
  const admitted: { readonly admission: Admission; readonly id: string; readonly era: Era }[] = [];

  for (const [index, each] of steps.entries()) {
    const wasTripped = history.now.kind === 'tripped';
    const erasBefore = history.eras.length;
    const before = stored;
    switch (each.kind) {
      case 'pass':
        nowMs += each.ms;
        break;
      case 'read':
        seen[each.instance] = { circuit: stored, era: history.now };
        break;
      case 'trip':
        stored = tripCircuit(stored, 'by hand', nowMs);
        if (!wasTripped) history.begin('tripped', nowMs);
        break;
      case 'reset':
        stored = resetCircuit(stored);
        history.begin('closed', nowMs);
        break;
      case 'call': {
        if (each.isFresh) seen[each.instance] = { circuit: stored, era: history.now };
        const { circuit, era } = seen[each.instance] ?? begin;
        const id = `call ${index}`;
        const verdict = admitCall(circuit, circuitRules, nowMs, id);
        if (circuit === stored) assert.equal(verdict.admitted, history.mayCall(nowMs));
        if (!verdict.admitted) {
          // Whoever comes back then, with nothing else happening, is let through; but for what only a person ends.
          assert.ok(verdict.retryAtMs > nowMs);
          const later = admitCall(circuit, circuitRules, verdict.retryAtMs, 'later');
          const sooner = admitCall(circuit, circuitRules, verdict.retryAtMs - 1, 'sooner');
          assert.equal(later.admitted, era.kind !== 'tripped');
          assert.equal(sooner.admitted, false);
        } else if (verdict.circuit === circuit) {
          // Nothing was written, so nothing shows that the circuit has moved on since it was read.
          assert.equal(era.kind, 'closed');
          admitted.push({ admission: verdict.admission, id, era });
        } else if (circuit === stored) {
          stored = verdict.circuit;
          history.call(id, nowMs);
          admitted.push({ admission: verdict.admission, id, era: history.now });
        }
        break;
      }
      case 'answer': {
        const call = admitted.at(-1 - (each.call % admitted.length));
        if (call === undefined) break;
        const outcome = each.ok ? ({ ok: true } as const) : ({ ok: false, reason: 'away' } as const);
        stored = recordOutcome(stored, circuitRules, call.admission, outcome, nowMs);
        history.answer(call.id, call.era, each.ok, nowMs);
        if (call.era !== history.now && history.eras.length === erasBefore) assert.equal(stored, before);
        break;
      }
    }
    agree(stored, history, circuitRules, nowMs);
    assert.equal(stored.generation, before.generation + history.eras.length - erasBefore);
    if (wasTripped && each.kind !== 'reset') assert.equal(stored, before);
  }
  return history;
}

function agree(circuit: Circuit, history: History, circuitRules: CircuitRules, nowMs: number): void {
  const { kind, beganAtMs } = history.now;
  assert.equal(circuit.kind, kind === 'tripped' ? 'open' : kind);
  switch (circuit.kind) {
    case 'closed':
      assert.equal(kind, 'closed');
      assert.equal(circuit.failures, history.failuresInARow());
      assert.ok(circuit.failures < circuitRules.failureThreshold);
      break;
    case 'open':
      assert.equal(kind, circuit.until === 'reset' ? 'tripped' : 'open');
      assert.equal(circuit.openedAtMs, beganAtMs);
      assert.equal(circuit.reason, circuit.until === 'reset' ? 'by hand' : 'away');
      break;
    case 'half_open': {
      assert.equal(kind, 'half_open');
      assert.equal(circuit.successes, history.successes());
      const unexpired = circuit.permits.filter(({ expiresAtMs }) => expiresAtMs > nowMs).map(({ id }) => id);
      assert.deepEqual(
        unexpired,
        history.unexpired(nowMs).map(({ id }) => id),
      );
      assert.ok(unexpired.length <= circuitRules.halfOpenMaxCalls);
      break;
    }
  }
}

describe('the circuit, beside an oracle that keeps all that ever happened', () => {
  it('agrees with it whatever several instances do, in whatever order', () => {
    fc.assert(
      fc.property(rules, fc.array(step, { maxLength: 120, size: 'max' }), (circuitRules, steps) => {
        play(circuitRules, steps);
      }),
      { numRuns: 1_000 },
    );
  });

  it('goes through every change of state in these runs', () => {
    // Else the agreement would be about little.
    const changes = new Set<string>();
    const games = fc.tuple(rules, fc.array(step, { minLength: 60, maxLength: 120 }));
    for (const [circuitRules, steps] of fc.sample(games, { numRuns: 100, seed: 1 })) {
      const { eras } = play(circuitRules, steps);
      for (const [index, { kind }] of eras.slice(1).entries()) changes.add(`${eras[index]?.kind} to ${kind}`);
    }
    for (const change of [
      'closed to open',
      'open to half_open',
      'half_open to open',
      'half_open to closed',
    ]) {
      expect(changes).toContain(change);
    }
    for (const kind of ['closed', 'open', 'half_open']) {
      expect(changes).toContain(`${kind} to tripped`);
    }
    expect([...changes].filter((change) => change.startsWith('tripped'))).toEqual(['tripped to closed']);
  });
});
