/**
 * The circuit breaker around the TRON network, shared by all instances. The state is a value in the breaker
 * document; these functions are its rules. Permits are leases that expire, so a prober that died cannot wedge
 * the half-open state; every outcome carries the generation it was admitted in, so a late answer from before a
 * change of state changes nothing.
 */
export type Circuit =
  | { readonly kind: 'closed'; readonly generation: number; readonly failures: number }
  | {
      readonly kind: 'open';
      readonly generation: number;
      readonly openedAtMs: number;
      readonly reason: string;
      /** What ends it: the network's recovery, by probes; or, where a person must look first, a reset alone. */
      readonly until: 'recovery' | 'reset';
    }
  | {
      readonly kind: 'half_open';
      readonly generation: number;
      readonly successes: number;
      readonly permits: readonly CircuitPermit[];
    };

/** Leave to make one call while half-open. */
export interface CircuitPermit {
  readonly id: string;
  readonly expiresAtMs: number;
}

export interface CircuitRules {
  /** Consecutive failures that open the circuit. */
  readonly failureThreshold: number;
  /** How long an open circuit refuses before it lets probes through. */
  readonly recoveryTimeoutMs: number;
  /** Successes that close a half-open circuit, and the most unexpired permits over all instances. */
  readonly halfOpenMaxCalls: number;
  /** How long a permit lasts: a call begins in its first half, and no call takes longer than the second. */
  readonly permitMs: number;
}

/** Nodes have a say in some reasons, and all share one small document. */
const REASON_CHARACTERS_MAX = 300;

export const CLOSED_CIRCUIT: Circuit = { kind: 'closed', generation: 0, failures: 0 };

/** What a caller holds while its call is under way. */
export interface Admission {
  readonly generation: number;
  /** Null while closed: then no permit is needed. */
  readonly permitId: string | null;
}

export type AdmissionVerdict =
  | { readonly admitted: true; readonly admission: Admission; readonly circuit: Circuit }
  | { readonly admitted: false; readonly retryAtMs: number; readonly reason: string };

/**
 * Decides whether a call may be made now. The returned circuit differs from the given one (by identity) only
 * where a permit was taken or the state moved on; then it must be stored before the call is made.
 */
export function admitCall(
  circuit: Circuit,
  rules: CircuitRules,
  nowMs: number,
  permitId: string,
): AdmissionVerdict {
  if (circuit.kind === 'closed') {
    return { admitted: true, admission: { generation: circuit.generation, permitId: null }, circuit };
  }
  if (circuit.kind === 'open') {
    const retryAtMs = circuit.openedAtMs + rules.recoveryTimeoutMs;
    if (circuit.until === 'reset') {
      return { admitted: false, retryAtMs: nowMs + rules.recoveryTimeoutMs, reason: circuit.reason };
    }
    if (nowMs < retryAtMs) return { admitted: false, retryAtMs, reason: circuit.reason };
    const generation = circuit.generation + 1;
    return {
      admitted: true,
      admission: { generation, permitId },
      circuit: { kind: 'half_open', generation, successes: 0, permits: [permit(permitId, rules, nowMs)] },
    };
  }
  const alive = circuit.permits.filter((held) => held.expiresAtMs > nowMs);
  if (alive.length >= rules.halfOpenMaxCalls) {
    const retryAtMs = Math.min(...alive.map((held) => held.expiresAtMs));
    return { admitted: false, retryAtMs, reason: 'probing whether the network has recovered' };
  }
  return {
    admitted: true,
    admission: { generation: circuit.generation, permitId },
    circuit: { ...circuit, permits: [...alive, permit(permitId, rules, nowMs)] },
  };
}

/**
 * Takes a call's outcome into account. Returns the same value (by identity) where nothing changes, which is the
 * usual case: a success while closed costs no write.
 */
export function recordOutcome(
  circuit: Circuit,
  rules: CircuitRules,
  admission: Admission,
  outcome: { readonly ok: true } | { readonly ok: false; readonly reason: string },
  nowMs: number,
): Circuit {
  if (circuit.generation !== admission.generation) return circuit;
  if (circuit.kind === 'closed') {
    if (outcome.ok) return circuit.failures === 0 ? circuit : { ...circuit, failures: 0 };
    const failures = circuit.failures + 1;
    if (failures < rules.failureThreshold) return { ...circuit, failures };
    return openCircuit(circuit, outcome.reason, nowMs);
  }
  if (circuit.kind === 'open') return circuit;
  // Only a permit of this state may speak that is not spent, and whose place no other could have taken yet.
  const spent = circuit.permits.find((held) => held.id === admission.permitId);
  if (spent === undefined || spent.expiresAtMs <= nowMs) return circuit;
  const permits = circuit.permits.filter((held) => held !== spent);
  if (!outcome.ok) return openCircuit(circuit, outcome.reason, nowMs);
  const successes = circuit.successes + 1;
  if (successes < rules.halfOpenMaxCalls) return { ...circuit, permits, successes };
  return { kind: 'closed', generation: circuit.generation + 1, failures: 0 };
}

/** Opens the circuit at once, whatever it was; the reason is shown by health, stats and refusals. */
export function openCircuit(circuit: Circuit, reason: string, nowMs: number): Circuit {
  // A tripped circuit stays so: that the network fails as well is no reason to close it by itself later.
  if (isTripped(circuit)) return circuit;
  return opened(circuit, reason, nowMs, 'recovery');
}

/** Opens the circuit until a person resets it: new payments stop, what is out is followed to its end. */
export function tripCircuit(circuit: Circuit, reason: string, nowMs: number): Circuit {
  if (isTripped(circuit)) return circuit;
  return opened(circuit, reason, nowMs, 'reset');
}

function opened(circuit: Circuit, reason: string, nowMs: number, until: 'recovery' | 'reset'): Circuit {
  return {
    kind: 'open',
    generation: circuit.generation + 1,
    openedAtMs: nowMs,
    reason: reason.slice(0, REASON_CHARACTERS_MAX),
    until,
  };
}

/** Closes the circuit, whatever it was; late answers of older generations change nothing. */
export function resetCircuit(circuit: Circuit): Circuit {
  return { kind: 'closed', generation: circuit.generation + 1, failures: 0 };
}

/** Open for another reason than the network: it can be asked about what is already out. */
export function isTripped(circuit: Circuit): boolean {
  return circuit.kind === 'open' && circuit.until === 'reset';
}

function permit(id: string, rules: CircuitRules, nowMs: number): CircuitPermit {
  return { id, expiresAtMs: nowMs + rules.permitMs };
}
