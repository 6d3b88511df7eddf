import { canFollow, type SolidHead } from '../domain/breaker.ts';
import {
  type Admission,
  admitCall,
  type Circuit,
  isTripped,
  openCircuit,
  recordOutcome,
} from '../domain/circuit.ts';
import { ServiceError } from '../domain/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ids } from '../ports/ids.ts';
import type { BreakerStore, Ledger } from '../ports/ledger.ts';
import type { BroadcastAnswer, PaymentNetwork } from '../ports/payment-network.ts';
import type { PaymentRules } from './payment-rules.ts';

/** begin: the first call for a new transfer · follow: what is already out, which goes on while payments are tripped. */
type Purpose = 'begin' | 'follow';
/** With what the breaker showed at that moment. */
interface Admitted extends Admission {
  /** Closed, and without a failure so far. */
  readonly isClean: boolean;
  readonly knownHead: SolidHead | null;
}
type Outcome = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** More lost races for the circuit than this in a row mean that something else is wrong. */
const RACES_MAX = 20;

/**
 * Puts the shared circuit breaker around the network: asked just before each call, told of each outcome. Only
 * an unreachable or senseless network counts as a failure; a refusal of this one transfer does not.
 */
export function withBreaker(
  network: PaymentNetwork,
  ledger: Pick<Ledger, 'serverTimeMs' | keyof BreakerStore>,
  ids: Ids,
  clock: Pick<Clock, 'nowMs'>,
  rules: Pick<PaymentRules, 'circuit' | 'headSkewMsMax'>,
): PaymentNetwork {
  return {
    readSolidHead: () =>
      guarded((admission) =>
        plausibly(
          admission,
          () => network.readSolidHead(),
          (head) => head,
        ),
      ),
    prepareTransfer: (transfer, inFlight) =>
      guarded(
        (admission) =>
          plausibly(
            admission,
            () => network.prepareTransfer(transfer, inFlight),
            (plan) => plan.referenceBlock,
          ),
        undefined,
        'begin',
      ),
    broadcast: (bytes, txId) => guarded(() => network.broadcast(bytes, txId), judgeAnswers),
    takeTestimony: (txId, knownHead) => guarded(() => network.takeTestimony(txId, knownHead)),
    walkSolidBlocks: (fromNumber, untilMs, knownHead) =>
      guarded(() => network.walkSolidBlocks(fromNumber, untilMs, knownHead)),
    readHistory: (account, from, floor) => guarded(() => network.readHistory(account, from, floor)),
    readHoldings: (account, knownHead) => guarded(() => network.readHoldings(account, knownHead)),
  };

  async function guarded<T>(
    call: (admission: Admitted) => Promise<T>,
    judge: (result: T) => Outcome = () => ({ ok: true }),
    purpose: Purpose = 'follow',
  ): Promise<T> {
    const admission = await admit(purpose);
    let outcome: Outcome = { ok: true };
    try {
      const result = await call(admission);
      outcome = judge(result);
      return result;
    } catch (error) {
      const failed = error instanceof ServiceError && error.code === 'chain_unavailable';
      if (failed) outcome = { ok: false, reason: error.message };
      throw error;
    } finally {
      // The usual case, a success while all is well, costs no further read and no write.
      if (!(admission.isClean && outcome.ok)) await record(admission, outcome);
    }
  }

  async function admit(purpose: Purpose): Promise<Admitted> {
    for (let race = 0; race < RACES_MAX; race += 1) {
      const askedAtMs = clock.nowMs();
      const { circuit, solidHead } = await ledger.readCircuit();
      const { generation } = circuit;
      if (circuit.kind === 'closed') {
        return { generation, permitId: null, isClean: circuit.failures === 0, knownHead: solidHead };
      }
      if (purpose === 'follow' && isTripped(circuit)) {
        return { generation, permitId: null, isClean: true, knownHead: solidHead };
      }
      const nowMs = await ledger.serverTimeMs();
      const verdict = admitCall(circuit, rules.circuit, nowMs, ids.next());
      if (!verdict.admitted) throw circuitOpen(verdict.reason, verdict.retryAtMs - nowMs);
      if (await ledger.replaceCircuit(circuit, verdict.circuit)) {
        // A process that froze meanwhile must not dial: others may have taken the place of its permit. Nothing is
        // awaited between this look at the clock and the call.
        if (clock.nowMs() - askedAtMs > rules.circuit.permitMs / 2) {
          throw circuitOpen('the leave to probe has run out', 1_000);
        }
        return { ...verdict.admission, isClean: false, knownHead: solidHead };
      }
    }
    throw circuitOpen('too many instances are probing at once', 1_000);
  }

  function record(admission: Admission, outcome: Outcome): Promise<void> {
    return change((circuit, nowMs) => recordOutcome(circuit, rules.circuit, admission, outcome, nowMs));
  }

  async function change(rule: (circuit: Circuit, nowMs: number) => Circuit): Promise<void> {
    for (let race = 0; race < RACES_MAX; race += 1) {
      const { circuit } = await ledger.readCircuit();
      const next = rule(circuit, await ledger.serverTimeMs());
      if (next === circuit || (await ledger.replaceCircuit(circuit, next))) return;
    }
  }

  /**
   * A chain that is minutes away from the server's clock is stalled, forked off or lying, or the clock is; one
   * whose height runs away from the time is lying. The circuit opens until it recovers, not until a reset: every
   * transfer is prepared on a head that is looked at again, so nothing is signed before clock and chain agree, and
   * then nobody has to be woken.
   */
  async function plausibly<T>(
    admission: Admitted,
    call: () => Promise<T>,
    headOf: (result: T) => SolidHead,
  ): Promise<T> {
    // The clock is asked together with the chain: a process that freezes in between would measure its own sleep.
    const [askedAtMs, result] = await Promise.all([ledger.serverTimeMs(), call()]);
    const head = headOf(result);
    const skewMs = head.timestampMs - askedAtMs;
    const isInTime = Math.abs(skewMs) <= rules.headSkewMsMax;
    if (isInTime && canFollow(admission.knownHead, head)) return result;
    const seconds = Math.round(Math.abs(skewMs) / 1000);
    const reason = isInTime
      ? `the last solid block, ${head.number}, cannot be reached from the one seen before`
      : `the last solid block is ${seconds} s ${skewMs < 0 ? 'behind' : 'ahead of'} the database's clock`;
    await change((circuit, nowMs) =>
      circuit.generation === admission.generation ? openCircuit(circuit, reason, nowMs) : circuit,
    );
    throw new ServiceError('chain_unavailable', reason, { retryAfterSeconds: 10 });
  }
}

/** The refusal that callers see while the network is given time to recover. */
export function circuitOpen(reason: string, waitMs: number): ServiceError {
  return new ServiceError('circuit_open', `Payments wait for the TRON network: ${reason}.`, {
    retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)),
  });
}

function judgeAnswers(answers: readonly BroadcastAnswer[]): Outcome {
  const reached = answers.some((answer) => answer.kind !== 'unclear');
  return reached ? { ok: true } : { ok: false, reason: 'no node gave a clear answer to a broadcast' };
}
