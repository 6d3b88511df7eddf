import { documentLedger } from '../../shared/adapters/mongo/ledger.ts';
import type { Ledger } from '../../shared/ports/ledger.ts';
import type { Engine } from '../../shared/usecases/engine.ts';
import type { PaymentRules } from '../../shared/usecases/payment-rules.ts';
import type { Mutant } from '../simulate/mutants.ts';
import { CONTRACT, RULES, WALLET } from '../support/test-engine.ts';
import { bytesOf, TICK_MS } from './chain.ts';
import type { Ports } from './script.ts';

/**
 * Nothing waits in a model longer than it must: a lease ends with the step of time in which it was taken, and every
 * visit is due at once.
 */
export const MODEL_RULES: PaymentRules = {
  ...RULES,
  limits: {
    USDT: { hourlyMicro: 0n, dailyMicro: 0n },
    // There is room for a rival's reservation of the same payment, so that only the rules can keep it out.
    TRX: { hourlyMicro: 200n, dailyMicro: 200n },
  },
  windows: { hourMs: 1_000 * TICK_MS, dayMs: 1_000 * TICK_MS },
  feeReserveMicro: 12n,
  expirationMs: TICK_MS,
  expirationMarginMs: 0,
  payByMs: TICK_MS,
  recheckMs: 0,
  leaseMs: 1,
  revisitMs: 0,
  rebroadcastMs: 0,
};

/**
 * The project's own engine, with names for whatever is new that tell who made it: nobody else makes the same, and
 * the same process at the same point makes the same again.
 */
export function engineOf(who: string, ports: Ports, rules: PaymentRules, mutant: Mutant | null): Engine {
  let names = 0;
  let signatures = 0;
  const { store, network } = ports;
  const sound = documentLedger(store);
  // No audit is ever due: it changes no book and no payment, and would only make the states many.
  const ledger: Ledger = {
    ...(mutant?.ledger?.(sound, { store, network }) ?? sound),
    claimAudit: async () => null,
  };
  return {
    ledger,
    network,
    signer: {
      wallet: WALLET,
      // Two processes never sign in the same millisecond here; what then happens is tested elsewhere.
      sign: async ({ amountMicro }, _plan, { expirationMs }) => {
        signatures += 1;
        const txId = `${who} signed ${signatures}`;
        return { txId, bytes: bytesOf(txId, amountMicro, expirationMs) };
      },
    },
    vault: { seal: (bytes) => bytes, open: (sealed) => sealed },
    stopSwitch: { isSet: async () => false },
    recipients: { judge: async () => 'allowed' },
    clock: { nowMs: () => 0, sleep: async () => {} },
    ids: {
      next: () => {
        names += 1;
        return `${who}.${names}`;
      },
      random: () => 0.5,
    },
    rules: { ...rules, contract: CONTRACT },
  };
}
